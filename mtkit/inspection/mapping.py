"""Two languages' sentence vectors in one space, learned from parallel text.

An encoder that serves several languages keeps each in a part of its space: a sentence is near to others of its language
before it is near to its translation. How the parts lie to each other, a few hundred pairs of lines tell. Canonical
correlation analysis (Hotelling 1936; for vectors of two languages Faruqui and Dyer 2014) finds the directions of either
space in which the vectors of translations agree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mtkit.errors import DataError
from mtkit.inspection.vectors import Vectors, check_lines, check_widths

# Added to each direction's variance, in mean variances, so that directions of which the pairs say little count little.
_SHRINKAGE = 0.1

_BLOCK_ROWS = 4096
_FEWEST_PAIRS = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """The map of a side into the common space: (x - mean) weights.

    Attributes:
        mean: `(dimensions,)` float32.
        weights: `(dimensions, common dimensions)` float32.
    """

    mean: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]

    def apply(self, vectors: Vectors) -> Vectors:
        """Return vectors as they are in the common space.

        Raises:
            DataError: They have another number of dimensions than those that the map was learned from.
        """
        check_widths(vectors.matrix.shape[1], len(self.mean))
        return replace(vectors, mean=self.mean, weights=self.weights)


def learn_projections(left: Vectors, right: Vectors) -> tuple[Projection, Projection]:
    """Return the maps of both sides into the space in which translations agree most.

    Each canonical direction is weighted by its correlation.

    Args:
        left: Vectors of one side of parallel text; pairs with an empty line are left out.
        right: Vectors of the other side.

    Raises:
        DataError: The numbers of lines or of dimensions differ, or there are too few pairs.
    """
    check_widths(left.matrix.shape[1], right.matrix.shape[1])
    check_lines(left, right)
    is_pair = ~(left.is_empty | right.is_empty)
    count = int(is_pair.sum())
    if count < _FEWEST_PAIRS:
        raise DataError(
            f"{count:,} pairs of lines are too few to learn from", fix="give a few hundred or more, or leave them out"
        )
    size = left.matrix.shape[1]
    sums, products = np.zeros(2 * size), np.zeros((2 * size, 2 * size))
    for start in range(0, len(left), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        both = np.hstack([left.matrix[rows], right.matrix[rows]])[is_pair[rows]].astype(np.float64)
        sums += both.sum(0)
        products += both.T @ both
    mean = sums / count
    covariance = products / count - np.outer(mean, mean)
    whiten_left, whiten_right = _whiten(covariance[:size, :size]), _whiten(covariance[size:, size:])
    directions, correlations, others = np.linalg.svd(whiten_left @ covariance[:size, size:] @ whiten_right)
    return (
        Projection(mean[:size].astype(np.float32), (whiten_left @ directions * correlations).astype(np.float32)),
        Projection(mean[size:].astype(np.float32), (whiten_right @ others.T * correlations).astype(np.float32)),
    )


def _whiten(covariance: Floats) -> Floats:
    """Return the symmetric inverse square root of a covariance, shrunk: `(dimensions, dimensions)`."""
    variances, directions = np.linalg.eigh(covariance)
    scales = 1 / np.sqrt(np.maximum(variances, 0) + _SHRINKAGE * max(float(variances.mean()), 1e-12))
    return (directions * scales) @ directions.T  # type: ignore[no-any-return]
