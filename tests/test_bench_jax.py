"""What `python -m bench.in_jax` writes: ratios beside their goals, in the place that the page on JAX has for them."""

from bench import in_jax
from bench.harness import QUICK


def run(forward: float, gradient: float, call: float) -> dict:
    def sides(ratio: float) -> dict:
        return {"stnkit": {"median": 1e-3}, "mapped": {"median": ratio * 1e-3}, "once": {"median": 9e-3}}

    rows = [{"what": "forward", "sides": sides(forward)}, {"what": "gradient", "sides": sides(gradient)}]
    return {"case": "a case", "rows": rows, "call": call}


def test_a_goal_is_met_by_the_users_of_both_ways_or_of_one() -> None:
    table = in_jax.table(run(2.0, 10.0, 4e-6))
    assert table.rows == [
        ("forward", "1 ms", "2.00", "9.00", "8", "met by one"),
        ("gradient", "1 ms", "10.0", "9.00", "8", "met"),
        ("one call in a program", "4.00 us", "-", "-", "3 us", "short"),
    ]


def test_the_page_has_a_place_for_the_table() -> None:
    assert len(in_jax.MARKED.findall(in_jax.PAGE.read_text(encoding="utf-8"))) == 1


def test_functions_agree_before_they_are_timed() -> None:
    rows = in_jax.measure_functions(((6, 5),), QUICK)
    assert [row["what"] for row in rows] == [
        "6 x 5, ten points",
        "6 x 5, nearest",
        "6 x 5, linear",
        "6 x 5, gradient, linear",
    ]
    table = in_jax.functions_table(
        {"functions": [{"what": "a", "sides": {"stnkit": {"median": 1e-3}, "jax": {"median": 2e-3}}}]}
    )
    assert table.rows == [("a", "1.00", "2.00", "2.00")]
