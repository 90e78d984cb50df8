"""What does a graph filter let through? A polynomial of the eigenvalues of the item–item graph.

Whatever basis it is named in, a response is a Chebyshev series on [0, top], which is evaluated without cancellation:

    h(lambda) = sum over k of c[k] T_k(2 lambda / top - 1)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

if TYPE_CHECKING:
    from collections.abc import Sequence

# Where the distance of two polynomials is looked at: much closer than their degrees can wiggle.
_LOOKS = 2001
# Of the largest coefficient: what is smaller is rounding, and would cost hops all the same.
_DUST = 1e-12


def monomial(coefficients: Sequence[float], top: float = 1.0) -> Chebyshev:
    """Sum over k of coefficients[k] lambda^k.

    [0, 1] is the linear filter of GF-CF (Shen et al., 2021), [0, 2, -1] and [0, 0.71, 0.1, -0.01] are the second and
    third filter of Turbo-CF (Park et al., 2024).

    Raises:
        ValueError: no coefficient, or one that is not finite.
    """
    if not len(coefficients) or not np.isfinite(coefficients).all():
        raise ValueError(f"monomial: expected finite coefficients, at least one, got {list(coefficients)}")
    power = Polynomial(coefficients)
    return Chebyshev.interpolate(power, len(coefficients) - 1, domain=[0.0, top])


def personalized_pagerank(hops: int, restart: float, top: float = 1.0) -> Chebyshev:
    """A walk that goes home with probability restart: sum over k up to hops of restart (1 - restart)^k lambda^k.

    Gasteiger et al., 2019, Predict then propagate; without the last hop's remainder, which shifts no rank by much.

    Raises:
        ValueError: hops below 1, or restart not in (0, 1).
    """
    if hops < 1 or not 0 < restart < 1:
        raise ValueError(f"personalized_pagerank: expected hops >= 1 and 0 < restart < 1, got {hops} and {restart}")
    return monomial([restart * (1 - restart) ** hop for hop in range(hops + 1)], top)


def plateau(order: int, flatness: float, top: float = 1.0) -> Chebyshev:
    """Chebyshev interpolation of a response that rises from 0 to 1, flat in the middle (Kim et al., 2025, ChebyCF).

    With s = 2 lambda / top - 1, the target is 1/2 + sign(s) |s|^flatness / 2, taken at the extrema of T_order, and the
    coefficients are the sums over the zeros of T_(order + 1): as ChebyCF has it, whose published figures it gives.

    Args:
        order: of the polynomial.
        flatness: 1 for a straight line; the larger, the flatter.
        top: the largest eigenvalue.

    Raises:
        ValueError: order below 1, or flatness not above 0.
    """
    if order < 1 or not 0 < flatness < np.inf:
        raise ValueError(f"plateau: expected order >= 1 and flatness above 0, got {order} and {flatness}")
    extrema = -np.cos(np.arange(order + 1) / order * np.pi)
    target = 0.5 + 0.5 * np.sign(extrema) * np.abs(extrema) ** flatness
    angle = (order + 0.5 - np.arange(order + 1)) / (order + 1) * np.pi
    series = np.cos(np.arange(order + 1)[:, None] * angle) @ target * (2 / (order + 1))
    series[0] /= 2
    return Chebyshev(series, domain=[0.0, top])


def split_constant(response: Chebyshev) -> tuple[float, Chebyshev]:
    """h(0) and r, where h(lambda) = h(0) + lambda r(lambda).

    Where nothing passes over the graph h(0) is all there is; and r is a degree below h, which saves a hop. Degrees
    whose coefficients are zero but for rounding, as of a monomial with zeros at its end, are left out.
    """
    top = response.domain[1]
    dust = _DUST * float(np.abs(response.coef).max())
    constant = float(response(0.0))
    if abs(constant) <= dust:
        constant = 0.0
    degree = response.degree()
    if degree < 1:
        return constant, Chebyshev([0.0], domain=[0.0, top])
    # Nodes of an interpolation on [0, top] are never 0, and a polynomial is interpolated exactly.
    rest = Chebyshev.interpolate(lambda x: (response(x) - constant) / x, degree - 1, domain=[0.0, top])
    return constant, rest.trim(dust / top)


def lowered(rest: Chebyshev, top: float, tolerance: float) -> Chebyshev:
    """The polynomial q of the lowest degree with |lambda (rest - q)| <= tolerance on [0, top], among interpolations.

    Eigenvalues above top do not follow it: what it misses there must be known otherwise.

    Args:
        rest: as `split_constant` gives it.
        top: above 0.
        tolerance: 0 or more; with 0 it is rest itself, on the new interval.
    """
    looks = np.linspace(0.0, top, _LOOKS)
    wanted = rest(looks)
    for degree in range(rest.degree()):
        lower = Chebyshev.interpolate(rest, degree, domain=[0.0, top])
        if np.abs(looks * (wanted - lower(looks))).max() <= tolerance:
            return lower
    return Chebyshev.interpolate(rest, rest.degree(), domain=[0.0, top])
