"""Data for the recipes of the gallery, made by a few lines each, so that there is a truth to compare with.

Put this file beside your script. It needs no download.
"""

import tempfile

import numpy as np

import stnkit
from stnkit.demo.data import load_digits


def page(rows, columns):
    """Return a page of handwritten digits, float32 of shape (28 * rows, 28 * columns), 1 for ink."""
    digits = load_digits()[0][: rows * columns].reshape(rows, columns, 28, 28)
    return np.float32(digits.swapaxes(1, 2).reshape(28 * rows, 28 * columns) / 255)


def flying_card():
    """Return two frames (120, 160) of a video, and the flow (120, 160, 2) from each to the other.

    The camera pans over a page, and a card flies over the page. Flows are in pixels, x before y.
    """
    paper, (y, x) = page(8, 10), np.mgrid[:120, :160]

    def shot(time):
        left, top, pan = 84 - 44 * time, 16 + 28 * time, 36 * time
        card = (abs(x - left - 28) < 28) & (abs(y - top - 28) < 28)
        flow = np.where(card[..., None], (-44, 28), (-36, 0)).astype(np.float32)
        return np.where(card, 1 - paper[y - top, x - left], paper[y + 56, x + pan]), flow

    (first, forward), (second, flow) = shot(0), shot(1)
    return first, second, forward, -flow


_HEAD = np.array([[0.96, -0.22, 0.02, 0.10], [0.24, 0.93, 0.10, -0.06], [0.02, -0.12, 1.05, 0.05]])


def two_scans():
    """Return two noisy scans (48, 48, 48) of one head, which lies differently in the second."""
    rng = np.random.default_rng(0)
    blobs = rng.uniform(-0.5, 0.5, (12, 3))

    def scan(theta):
        places = stnkit.affine_grid(theta.astype(np.float32), (48, 48, 48))
        radius = np.linalg.norm(places / [0.6, 0.75, 0.65], axis=-1)
        density = np.exp(-30 * (radius - 1) ** 2) / 2 + 0.05 * rng.standard_normal(radius.shape)
        for blob in blobs:
            density += np.exp(-25 * ((places - blob) ** 2).sum(axis=-1))
        return density.astype(np.float32)

    return scan(_HEAD), scan(np.eye(3, 4))


def miss(theta, truth=_HEAD):
    """Return by how many voxels the corners of the head miss, if theta lays the second scan over the first."""
    corners = np.meshgrid([-0.6, 0.6], [-0.6, 0.6], [-0.6, 0.6], [1.0])
    return 24 * np.linalg.norm((theta - truth) @ np.reshape(corners, (4, 8)), axis=0).max()


def volumes_on_disk():
    """Write two volumes (1, 48, 48, 48) in chunks of 24; return their zarr arrays, and theta from first to second."""
    import zarr

    folder, random = tempfile.mkdtemp(), np.random.default_rng(0)
    truth = np.array([[0.98, -0.09, 0.0, 0.05], [0.09, 0.98, 0.0, -0.04], [0.0, 0.0, 1.0, 0.03]])
    balls = [(random.uniform(-0.6, 0.6, 3), random.uniform(0.15, 0.35)) for _ in range(12)]

    def written(name, theta):
        places = stnkit.affine_grid(theta, (48, 48, 48))
        volume = sum(np.exp(-(((places - centre) / width) ** 2).sum(axis=-1)) for centre, width in balls)
        return zarr.create_array(f"{folder}/{name}", data=np.float32(volume[None]), chunks=(1, 24, 24, 24))

    return written("fixed", truth), written("moving", np.eye(3, 4)), truth


def places(affine, size):
    """Return where the voxels (i, j, k) of a scan are in the world, (3, *size), in millimetres."""
    turned = np.einsum("ab,bijk->aijk", affine[:3, :3], np.indices(size))
    return (turned + affine[:3, 3].reshape(3, 1, 1, 1)).astype(np.float32)


def oblique_scan():
    """Return a scan (104, 120, 22) of a head, in slices 8 mm thick, and its matrix from voxels to millimetres."""
    c, s = 2 * np.cos(0.4), 2 * np.sin(0.4)
    affine = np.array([[c, -s, 0, -48], [s, c, 0, -152], [0, 0, 8, -84], [0, 0, 0, 1]])
    x, y, z = places(affine, (104, 120, 22))
    radius = np.sqrt((x / 75) ** 2 + (y / 95) ** 2 + (z / 80) ** 2)
    folds = 0.55 + 0.25 * np.sin(x / 6 + 2 * np.sin(y / 11)) * np.sin(y / 8 + z / 9)
    hollow = (x / 14) ** 2 + (y / 34) ** 2 + (z / 24) ** 2 < 1
    density = np.select([radius > 1, radius > 0.92, hollow], [0.0, 1.0, 0.1], folds)
    return density.astype(np.float32), affine


def straight_line():
    """Return a line of six digits, (1, 28, 168)."""
    return np.hstack(load_digits()[0][[7, 5, 3, 2, 13, 15]])[None].astype(np.float32) / 255


def bent_line():
    """Return a picture (1, 96, 224) of the line, bent along an arc."""
    y, x = np.mgrid[:96, :224]
    angle, distance = np.arctan2(x - 112, 168 - y), np.hypot(x - 112, 168 - y)
    bent = np.stack([angle / 0.7, (135 - distance) / 20], axis=-1).astype(np.float32)
    return stnkit.grid_sample(straight_line(), bent)


def points_of_line(rows):
    """Return where seven points of each row are on the straight line, from -1 to 1, and in pixels of the picture."""
    control = np.array([(x, y) for y in rows for x in np.linspace(-1, 1, 7)], np.float32)
    angle, distance = 0.7 * control[:, 0], 135 - 20 * control[:, 1]
    return control, np.stack([112 + distance * np.sin(angle), 168 - distance * np.cos(angle)], axis=-1)


def feature_maps():
    """Return a picture of digits with empty cells as three maps (1, 1, side, side): of 28, 14 and 7 pixels."""
    cells = page(4, 4).reshape(4, 28, 4, 28)
    cells[::2, :, ::2] = cells[1::2, :, 1::2] = 0.0
    means = [cells.reshape(side, 112 // side, side, 112 // side).mean(axis=(1, 3)) for side in (28, 14, 7)]
    return [_tensor(mean / mean.max())[None, None] for mean in means]


def look_for_ink(attention, values):
    """Let nine queries learn where to look: return their places (1, 9, 3, 4, 2) before and after, and weights.

    What is learnt are the places and the weights, which in a network are linear in the query.
    """
    import torch

    torch.manual_seed(0)
    side = torch.tensor([0.2, 0.5, 0.8])
    centres = torch.cartesian_prod(side, side).reshape(1, 9, 1, 1, 2)
    offsets = (0.05 * torch.randn(1, 9, 3, 4, 2)).requires_grad_()
    scores, start = torch.zeros(1, 9, 12, requires_grad=True), centres + offsets.detach()
    optimizer = torch.optim.Adam([offsets, scores], lr=0.01)
    for _ in range(120):
        weights = scores.softmax(dim=-1).unflatten(2, (3, 4))
        loss = -attention(values, centres + offsets, weights).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return start, (centres + offsets).detach(), scores.detach().softmax(dim=-1).unflatten(2, (3, 4))


def linked_rings(points):
    """Return which of the points (P, 3) are in one of two linked rings."""
    import torch

    x, y, z = points.unbind(dim=-1)
    one = torch.hypot(torch.hypot(x + 0.25, y) - 0.5, z)
    other = torch.hypot(torch.hypot(x - 0.25, z) - 0.5, y)
    return torch.minimum(one, other) < 0.17


def learn_shape(features, inside):
    """Learn planes (3, 8, 32, 32), and a network that tells from their features which points are inside a shape."""
    import torch

    torch.manual_seed(0)
    planes = (0.1 * torch.randn(3, 8, 32, 32)).requires_grad_()
    decoder = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
    optimizer = torch.optim.Adam([planes, *decoder.parameters()], lr=0.02)
    for _ in range(200):
        points = 2 * torch.rand(4096, 3) - 1
        density = decoder(features(planes, points))[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(density, inside(points).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return planes.detach(), decoder


def hills():
    """Return a panorama (3, 256, 512) of hills, a chequered plain, and a sun that lies on the seam."""
    latitude, longitude = (np.mgrid[:256, :512] + 0.5) / 256 * np.pi
    latitude, longitude = latitude - np.pi / 2, longitude - np.pi
    far = 1 / np.tan(np.maximum(latitude, 0.05))
    tiles = (np.floor(far * np.sin(longitude)) + np.floor(far * np.cos(longitude))) % 2
    ridge = 0.05 * np.sin(3 * longitude) + 0.03 * np.sin(8 * longitude + 1) - 0.1
    sun = np.exp(-30 * ((abs(longitude) - np.pi) ** 2 + (latitude + 0.5) ** 2))
    sky = np.stack([0.65 + 0.3 * latitude, 0.85 + 0.3 * latitude, 0.9 + 0 * latitude])
    ground = np.stack([0.35 + 0.25 * tiles, 0.5 + 0.2 * tiles, 0.3 + 0.1 * tiles])
    land = np.where(latitude > 0.05, ground, np.array([0.3, 0.45, 0.4])[:, None, None])
    return np.where(latitude > ridge, land, sky + sun).clip(0, 1).astype(np.float32)


def turned_page(degrees, factor):
    """Return a page (1, 168, 168), and the same turned and enlarged."""
    from stnkit.transforms import similarity

    theta = similarity(np.array([1 / factor, -np.radians(degrees), 0.0, 0.0])).astype(np.float32)
    return page(6, 6)[None], stnkit.affine_sample(page(6, 6)[None], theta)


def cards():
    """Return what two cameras side by side see of cards before a page, (120, 160), and what moves between them.

    The picture of each camera; then the depth in the first, and the places (120, 160, 2) of its pixels in the second.
    """
    paper, (y, x) = page(8, 10), np.mgrid[:120, :160]
    baseline = 60  # by so many pixels moves what is at depth 1

    def shot(camera):
        picture, depth = 0.6 * paper[y, x + 6 * camera], np.full(y.shape, 10.0)
        for left, top, far in ((16, 56, 4.0), (64, 16, 2.0), (92, 60, 1.5)):
            column = x - left + int(baseline / far) * camera
            card = (abs(column - 22) < 22) & (abs(y - top - 22) < 22)
            picture = np.where(card, 1 - 0.8 * paper[y - top + 112, column + left], picture)
            depth = np.where(card, far, depth)
        return picture.astype(np.float32), depth.astype(np.float32)

    (picture, depth), (truth, _) = shot(0), shot(1)
    return picture, truth, depth, np.stack([x - baseline / depth, y], axis=-1).astype(np.float32)


def regions(theta, size):
    """Return the classes, 0 to 7, that an affine map reads: exact, as they are known at any place."""
    places = stnkit.affine_grid(theta.astype(np.float32), size)
    seeds = np.random.default_rng(3).uniform(-1.2, 1.2, (24, 2))
    nearest = np.linalg.norm(places[..., None, :] - seeds, axis=-1).argmin(axis=-1)
    return (nearest % 8).astype(np.uint8)


def _tensor(array):
    import torch

    return torch.from_numpy(np.ascontiguousarray(array))
