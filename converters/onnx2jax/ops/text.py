"""Strings, on the host."""

from __future__ import annotations

import re
import unicodedata

import numpy as np

from onnx2jax.registry import op


@op("StringConcat", 20, static=("x", "y"))
def StringConcat(x, y):
    return np.asarray(np.asarray(x, object) + np.asarray(y, object), object)


@op("StringSplit", 20, static=("x",))
def StringSplit(x, *, delimiter=None, maxsplit=None):
    """The parts, the shorter rows filled with '', and how many there are."""
    limit = -1 if maxsplit is None else maxsplit
    rows = [str(text).split(delimiter or None, limit) for text in np.asarray(x).reshape(-1)]
    width = max(map(len, rows), default=0)
    parts = np.array([row + [""] * (width - len(row)) for row in rows], object)
    counts = np.array([len(row) for row in rows], np.int64)
    return parts.reshape(*x.shape, width), counts.reshape(x.shape)


@op("RegexFullMatch", 20, static=("x",))
def RegexFullMatch(x, *, pattern=""):
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the pattern {pattern!r} is not a regular expression: {error}") from None
    found = [expression.fullmatch(str(text)) is not None for text in np.asarray(x).reshape(-1)]
    return np.array(found, bool).reshape(x.shape)


@op("StringNormalizer", 10, static=("x",))
def StringNormalizer(
    x, *, case_change_action="NONE", is_case_sensitive=0, locale=None, stopwords=None
):
    """The words that are no stop words, in the case wanted; x is (C,) or (1, C)."""
    fold = str.casefold if not is_case_sensitive else str
    stops = {fold(word) for word in stopwords or []}
    change = {"LOWER": str.lower, "UPPER": str.upper}.get(case_change_action, str)
    kept = [change(_plain(w)) for w in np.asarray(x).reshape(-1) if fold(w) not in stops]
    return np.array(kept or [""], object).reshape(*x.shape[:-1], -1)


def _plain(word):
    """Without accents."""
    parts = unicodedata.normalize("NFKD", word)
    return word if word.isascii() else "".join(c for c in parts if not unicodedata.combining(c))


@op("TfIdfVectorizer", 9, static=("x",))
def TfIdfVectorizer(
    x,
    *,
    max_gram_length,
    max_skip_count,
    min_gram_length,
    mode,
    ngram_counts,
    ngram_indexes,
    pool_int64s=None,
    pool_strings=None,
    weights=None,
):
    """How often each n-gram of the pool occurs, its items up to `max_skip_count` apart."""
    pool = list(pool_int64s or pool_strings or [])
    grams = _ngrams(pool, ngram_counts)
    wanted = dict(zip(grams, ngram_indexes, strict=True))
    rows = np.atleast_2d(np.asarray(x))
    counts = np.zeros((len(rows), max(ngram_indexes) + 1), np.float32)
    for row, out in zip(rows.tolist(), counts, strict=True):
        for n in range(min_gram_length, max_gram_length + 1):
            for skip in range(1, (max_skip_count if n > 1 else 0) + 2):
                for start in range(len(row) - skip * (n - 1)):
                    gram = tuple(row[start : start + skip * (n - 1) + 1 : skip])
                    if gram in wanted:
                        out[wanted[gram]] += 1
    # The weights are listed as the n-grams are.
    scale = np.ones(counts.shape[1], np.float32)
    if weights is not None:
        scale[np.asarray(ngram_indexes)] = weights
    result = {"TF": counts, "IDF": (counts > 0) * scale, "TFIDF": counts * scale}[mode]
    return result.reshape(*np.shape(x)[:-1], -1).astype(np.float32)


def _ngrams(pool, starts):
    """The pool's n-grams: all of one item, then all of two …"""
    grams = []
    for n, (start, end) in enumerate(zip(starts, [*starts[1:], len(pool)], strict=True), 1):
        grams += [tuple(pool[i : i + n]) for i in range(start, end, n)]
    return grams
