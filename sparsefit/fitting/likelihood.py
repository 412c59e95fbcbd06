"""Likelihood of log K = level + offset + noise for many curves at once, level and noise maximised out.

A row says that log K lies in (lower, upper]; equal ends are an exact value, an infinite upper end is K* > T.
Both classes answer the same questions about any offsets of shape (C curves, P candidates, N rows):
`ExactLevel` in closed form, `CensoredLevel` by Newton's method on a concave problem. Each has its own
objective: a sum of squares there, a deviance -2 log L here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, stdtrit

from sparsefit.fitting.curves import Array

RESOLUTION = 1e-5
"""Noise of log K below which the data count as free of noise: no count of steps is known better, and no model
is fitted better, the constant and c1/B as limits of the curve among them."""

SHARPEST = 1e4
"""Largest inverse noise of the censored likelihood, which has no maximum if a curve meets all intervals."""

FAR = 1e6
"""Stands for an infinite end of an interval of log K."""

NARROW = 1e-4
"""Width over noise below which an interval counts as its density times its width: the difference of two
distribution functions has no digits left there, and the density is off by a factor of 1e-9."""

OPEN = 1e3
"""Distance in log K at which the search for a limit ends: its exponential is zero or infinite."""

HALF_LOG_2PI = float(0.5 * np.log(2 * np.pi))


@dataclass(frozen=True)
class Rows:
    """Rows of C curves, padded to the same length N.

    Attributes
    ----------
    log_batch_size, lower, upper : ndarray, shape (C, N)
        Logarithms; (lower, upper] holds log K, with -inf and inf allowed.
    weight : ndarray, shape (C, N)
        How many measurements a row stands for, 0 for padding.
    within : ndarray, shape (C,)
        Sum of squares of exact log K about the means that stand for them, see `pool`.
    """

    log_batch_size: Array
    lower: Array
    upper: Array
    weight: Array
    within: Array

    @property
    def exact(self) -> bool:
        """Whether every row is an exact value."""
        return bool(np.all((self.lower == self.upper) | (self.weight == 0)))

    @property
    def informative(self) -> Array:
        """Rows of each curve that are not mere lower bounds, shape (C,)."""
        return np.asarray((self.weight * np.isfinite(self.upper)).sum(axis=1))


def pool(log_batch_size: Array, lower: Array, upper: Array) -> Rows:
    """Return the rows of one curve with equal ones merged; no likelihood changes by it.

    Parameters
    ----------
    log_batch_size, lower, upper : ndarray, shape (N,)
        One measurement each. Exact values of one batch size become their mean, whose scatter goes to
        ``within``: a normal likelihood knows them by these two numbers. Intervals and bounds merge where
        they are the same.
    """
    exact = lower == upper
    ends = (
        np.where(exact, np.inf, lower),
        np.where(exact, -np.inf, upper),
    )  # no interval runs from inf to -inf
    keys = np.stack([log_batch_size, *ends])
    order = np.lexsort(keys[::-1])
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = np.any(keys[:, order[1:]] != keys[:, order[:-1]], axis=0)
    place = np.empty(len(order), dtype=int)
    place[order] = np.cumsum(fresh) - 1
    x, low, high = keys[:, order[fresh]]
    weight = np.bincount(place).astype(float)
    y = np.where(exact, upper, 0.0)
    mean = np.bincount(place, y) / weight
    low, high = (np.where(low == np.inf, mean, end) for end in (low, high))
    within = float(((y - mean[place])[exact] ** 2).sum())
    return Rows(x[None], low[None], high[None], weight[None], np.array([within]))


class Profile(NamedTuple):
    """Objective, level of log K and noise at each candidate, shapes (C, P)."""

    objective: Array
    level: Array
    noise: Array


def make_level(rows: Rows) -> ExactLevel | CensoredLevel:
    """Return the closed form where every row is exact, else the censored likelihood."""
    return ExactLevel(rows) if rows.exact else CensoredLevel(rows)


class ExactLevel:
    """Least squares on log K; the objective is the sum of squares."""

    def __init__(self, rows: Rows) -> None:
        self.weight = rows.weight[:, None, :]
        self.count = rows.weight.sum(axis=1)
        self.within = rows.within[:, None]
        self.y = np.where(rows.weight > 0, rows.upper, 0.0)[:, None, :]

    def _residual(self, offset: Array) -> tuple[Array, Array]:
        raw = self.y - offset
        level = (self.weight * raw).sum(axis=-1) / self.count[:, None]
        return raw - level[..., None], level

    def profile(self, offset: Array) -> Profile:
        """Return the best objective, level and maximum-likelihood noise for offsets of shape (C, P, N)."""
        residual, level = self._residual(offset)
        ssr = (self.weight * residual**2).sum(axis=-1) + self.within
        return Profile(ssr, level, np.sqrt(ssr / self.count[:, None]))

    def score(self, offset: Array, slope: Array) -> Array:
        """Return d objective / dφ where ``slope`` is d offset / dφ, shape (C, P)."""
        residual, _ = self._residual(offset)
        return -2 * (self.weight * residual * slope).sum(axis=-1)

    def cut(self, best: Array, confidence: float, parameters: int = 2) -> Array:
        """Return the objective on the edge of the region: SSR (1 + t²/ν), infinite if ν < 1; shape (C,)."""
        free = self.count - parameters
        floor = np.maximum(best, self.count * RESOLUTION**2)
        return np.where(free > 0, floor * (1 + _student(free, confidence) ** 2 / np.maximum(free, 1)), np.inf)

    def band(self, offset: Array, cut: Array) -> tuple[Array, Array]:
        """Return the range of the level with the objective under ``cut``, shapes (C, P)."""
        ssr, level, _ = self.profile(offset)
        half = np.sqrt(np.maximum(cut[:, None] - ssr, 0.0) / self.count[:, None])
        return level - half, level + half

    def log_likelihood(self, objective: Array) -> Array:
        """Return log L from the objective, shape as given."""
        count = self.count.reshape(-1, *[1] * (np.ndim(objective) - 1))
        variance = np.maximum(objective / count, RESOLUTION**2)
        return -0.5 * count * (np.log(variance) + 1) - count * HALF_LOG_2PI


class CensoredLevel:
    """Interval-censored and right-censored log K (Tobit); the objective is the deviance -2 log L.

    In Olsen's coordinates, inverse noise τ and level·τ, log L is concave for any offset (Burridge 1981), so
    Newton's method with halved steps finds its only maximum.
    """

    def __init__(self, rows: Rows) -> None:
        keep = rows.weight > 0
        self.weight = rows.weight[:, None, :]
        self.count = rows.informative
        self.within = rows.within[:, None]
        lower, upper = (np.where(keep, end, np.nan) for end in (rows.lower, rows.upper))
        middle = np.logaddexp(lower, upper) - np.log(2.0)
        known = np.isfinite(upper)
        guess = np.where(known & np.isfinite(lower), middle, np.where(known, upper, lower))
        # Levels are counted from the mean of log K: far from 0 their last digits would be lost.
        self.origin = np.nanmean(guess, axis=1, keepdims=True)
        lower, upper = (np.where(keep, end - self.origin, 0.0) for end in (lower, upper))
        self.guess = np.where(keep, guess - self.origin, 0.0)[:, None, :]
        self.exact = (lower == upper)[:, None, :]
        self.any_exact = bool((self.exact & keep[:, None, :]).any())
        self.lower = np.where(lower == upper, upper - 1.0, np.maximum(lower, -FAR))[:, None, :]
        self.upper = np.minimum(upper, FAR)[:, None, :]
        self.width = self.upper - self.lower
        self.from_below = np.isinf(upper)[:, None, :]

    def _terms(self, offset: Array, level: Array, tau: Array) -> tuple[Array, ...]:
        """Return log L, its gradient and Hessian in (level·τ, τ), and d log L / d(level·τ) of each row."""
        t, beta = tau[..., None], (level * tau)[..., None]
        u, low = self.upper - offset, self.lower - offset
        # One end from the other: of two near ones, each by itself, the difference would be noise.
        zu = np.where(self.from_below, t * low - beta + t * self.width, t * u - beta)
        zl = zu - t * self.width
        zl = np.where(self.from_below, t * low - beta, zl)
        flip = zl > 0
        big, small = np.where(flip, -zl, zu), np.where(flip, -zu, zl)
        log_big = log_ndtr(big)
        with np.errstate(divide="ignore", under="ignore", over="ignore", invalid="ignore"):
            log_p = log_big + np.log(-np.expm1(np.minimum(log_ndtr(small) - log_big, -1e-300)))
            a = np.exp(-0.5 * zl**2 - HALF_LOG_2PI - log_p)
            b = np.exp(-0.5 * zu**2 - HALF_LOG_2PI - log_p)
            uu, ll, ul = -zu * b - b * b, zl * a - a * a, a * b
            row = [log_p, a - b, b * u - a * low, uu + ll + 2 * ul]
            row += [-(uu * u + ul * (low + u) + ll * low), uu * u**2 + 2 * ul * u * low + ll * low**2]
        narrow = ~self.exact & (t * self.width < NARROW)
        if self.any_exact or narrow.any():
            half = np.where(self.exact, 0.0, self.width / 2)
            z, at = zu - t * half, u - half
            scale = np.where(self.exact, 0.0, np.log(self.width))
            point = [np.log(t) + scale - 0.5 * z**2 - HALF_LOG_2PI, z, 1 / t - z * at]
            point += [-np.ones_like(z), at, -1 / t**2 - at**2]
            row = [np.where(self.exact | narrow, p, r) for p, r in zip(point, row, strict=True)]
        log_l, g1, g2, h11, h12, h22 = ((self.weight * r).sum(axis=-1) for r in row)
        log_l, g2 = log_l - 0.5 * tau**2 * self.within, g2 - tau * self.within
        return log_l, g1, g2, h11, h12, h22 - self.within, self.weight * row[1]

    def _maximise(self, offset: Array, fixed_level: Array | None = None) -> tuple[Array, Array, Array]:
        """Return log L, level and τ at the maximum, over τ alone where the level is fixed."""
        raw = self.guess - offset
        count = self.weight.sum(axis=-1)
        level = (self.weight * raw).sum(axis=-1) / count if fixed_level is None else fixed_level
        spread = np.sqrt(((self.weight * (raw - level[..., None]) ** 2).sum(axis=-1) + self.within) / count)
        tau = 1 / np.clip(spread, 10 / SHARPEST, None)
        log_l, g1, g2, h11, h12, h22, _ = self._terms(offset, level, tau)
        for _ in range(100):
            if fixed_level is None:
                step1, step2 = _newton(g1, g2, h11, h12, h22, (tau >= SHARPEST) & (g2 > 0))
                gain = g1 * step1 + g2 * step2
            else:  # along the ray β = level·τ
                g = g1 * level + g2
                h = h11 * level**2 + 2 * h12 * level + h22
                step2 = np.where((tau >= SHARPEST) & (g > 0), 0.0, g / np.maximum(-h, 1e-12))
                step1 = level * step2
                gain = g * step2
            if not np.any(gain > 1e-10 * (1 + np.abs(log_l))):
                break
            scale = np.ones_like(tau)
            scale = np.where(step2 < -0.75 * tau, -0.75 * tau / np.where(step2 < 0, step2, -1), scale)
            scale = np.where(tau + step2 > SHARPEST, (SHARPEST - tau) / np.maximum(step2, 1e-300), scale)
            for _ in range(30):
                new_tau = np.clip(tau + scale * step2, 1e-6, SHARPEST)
                new_level = (level * tau + scale * step1) / new_tau if fixed_level is None else level
                new = self._terms(offset, new_level, new_tau)
                worse = ~(new[0] >= log_l - 1e-12 * (1 + np.abs(log_l)))
                if not worse.any():
                    break
                scale = np.where(worse, 0.3 * scale, scale)
            level, tau = np.where(worse, level, new_level), np.where(worse, tau, new_tau)
            log_l, g1, g2, h11, h12, h22, _ = self._terms(offset, level, tau)
            if worse.all():
                break
        return log_l, level, tau

    def profile(self, offset: Array) -> Profile:
        """Return the least deviance, its level and noise for offsets of shape (C, P, N)."""
        log_l, level, tau = self._maximise(offset)
        return Profile(-2 * log_l, self.origin + level, 1 / tau)

    def score(self, offset: Array, slope: Array) -> Array:
        """Return d objective / dφ where ``slope`` is d offset / dφ, shape (C, P)."""
        _, level, tau = self._maximise(offset)
        row = self._terms(offset, level, tau)[-1]
        return -2 * (row * slope).sum(axis=-1) * tau

    def cut(self, best: Array, confidence: float, parameters: int = 2) -> Array:
        """Return the deviance on the edge of the region: D + n log(1 + t²/ν), which is SSR (1 + t²/ν)."""
        free = self.count - parameters
        ratio = self.count * np.log1p(_student(free, confidence) ** 2 / np.maximum(free, 1))
        return np.where(free > 0, best + ratio, np.inf)

    def band(self, offset: Array, cut: Array) -> tuple[Array, Array]:
        """Return the range of the level with the deviance under ``cut``, shapes (C, P).

        Newton's method on the root of the excess deviance, which is nearly linear in the level.
        """
        log_l, level, tau = self._maximise(offset)
        open_ = np.isinf(cut)[:, None]
        target = np.sqrt(np.maximum(np.where(open_, 0.0, cut[:, None] + 2 * log_l), 0.0))
        curvature = -self._terms(offset, level, tau)[3] * tau**2
        width = np.minimum(target / np.sqrt(np.maximum(curvature, 1e-12)), OPEN)
        ends = []
        for sign in (-1.0, 1.0):
            end = level + sign * width
            inside, outside = level, np.full_like(level, sign * np.inf)
            for _ in range(40):
                at, _, t = self._maximise(offset, end)
                root = np.sqrt(np.maximum(2 * (log_l - at), 0.0))
                off = root - target
                if np.all(np.abs(off) <= 1e-7 * (1 + target)):
                    break
                inside, outside = np.where(off < 0, end, inside), np.where(off > 0, end, outside)
                slope = -self._terms(offset, end, t)[1] * t / np.maximum(root, 1e-9)
                move = end - off / np.where(np.abs(slope) > 1e-9, slope, np.inf)
                between = sign * (move - inside) * sign * (outside - move) > 0
                halfway = np.where(np.isfinite(outside), (inside + outside) / 2, end + 2 * (end - level))
                end = np.clip(np.where(between, move, halfway), level - OPEN, level + OPEN)
            ends.append(np.where(open_, sign * np.inf, self.origin + end))
        return ends[0], ends[1]

    def log_likelihood(self, objective: Array) -> Array:
        """Return log L from the objective, shape as given."""
        return -0.5 * objective


def _newton(g1: Array, g2: Array, h11: Array, h12: Array, h22: Array, pinned: Array) -> tuple[Array, Array]:
    """Return the Newton step of a concave problem in two coordinates; pinned ones keep the second."""
    h11, h22 = h11 - 1e-12, h22 - 1e-12
    det = np.maximum(h11 * h22 - h12**2, 1e-14 * h11 * h22)
    step1 = np.where(pinned, -g1 / h11, (h12 * g2 - h22 * g1) / det)
    step2 = np.where(pinned, 0.0, (h12 * g1 - h11 * g2) / det)
    return step1, step2


def _student(free: Array, confidence: float) -> Array:
    return np.asarray(stdtrit(np.maximum(free, 1), (1 + confidence) / 2))


def truncated_mean(low: Array, high: Array) -> Array:
    """Return the mean of a standard normal variable between two bounds, which may be infinite."""
    flip = low > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    log_b = log_ndtr(b)
    with np.errstate(divide="ignore", under="ignore", over="ignore", invalid="ignore"):
        log_p = log_b + np.log(-np.expm1(np.minimum(log_ndtr(a) - log_b, -1e-300)))
        mean = np.exp(-0.5 * a**2 - HALF_LOG_2PI - log_p) - np.exp(-0.5 * b**2 - HALF_LOG_2PI - log_p)
    mean = np.where(np.isfinite(mean), mean, 0.0)
    mean = np.clip(mean, np.maximum(a, -FAR), np.minimum(b, FAR))
    return np.where(flip, -mean, mean)
