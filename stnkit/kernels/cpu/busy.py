"""Threads as long as they pay: a balance of the seconds that they save, and of those that they lose on busy cores.

At the end of a parallel loop GNU OpenMP's threads wait for each other in a loop, which holds a core. If another program
has the core of one of them, all wait for its time slice: a launch of 0.1 ms then takes 10 ms and more. That cannot be
seen beforehand, so launches are timed. Where threads lose, launches run on one thread for a while, and then threads are
tried again.
"""

LARGE = 1 << 24  # taps; a launch of more outlasts time slices, and threads pay in any case
GUESS = 2e-9  # seconds for a tap on one thread, where that was not measured
CREDIT, DEBT = 10e-3, 1e-3  # seconds that threads may have saved, and may lose before there is a pause
PATIENCE = 16  # launches: threads may lose as long as these take alone besides, as the first ones touch new memory
PAUSE, LONGEST = 0.25, 4.0  # seconds on one thread

Kind = tuple[int, int]  # a kernel, and the binary order of its work


class Balance:
    """What threads have saved lately. Python's threads may share one: what they lose by that is accuracy."""

    def __init__(self) -> None:
        self.saved = 0.0
        self.pause = PAUSE
        self.until = 0.0  # of a pause
        self.alone: dict[Kind, float] = {}  # least seconds for a tap on one thread, in the last pause

    def pauses(self, now: float) -> bool:
        """Tell whether launches have to do with one thread."""
        return now < self.until

    def note_alone(self, kind: Kind, work: int, seconds: float) -> None:
        """Note how long a launch took on one thread."""
        self.alone[kind] = min(self.alone.get(kind, 1.0), seconds / work)

    def note_threads(self, kind: Kind, work: int, seconds: float, now: float) -> None:
        """Note how long a launch took on threads; begin a pause if they lose.

        They lose what a launch takes beyond twice what it would alone, so that measurements which scatter are no alarm.
        """
        alone = self.alone.get(kind, GUESS) * work
        change = alone - seconds if seconds < alone else min(2 * alone - seconds, 0.0)
        self.saved = min(self.saved + change, CREDIT)
        if self.saved < -(DEBT + PATIENCE * alone):
            self.saved, self.until, self.pause = 0.0, now + self.pause, min(2 * self.pause, LONGEST)
            self.alone.clear()
        elif self.saved == CREDIT:
            self.pause = PAUSE


balance = Balance()
