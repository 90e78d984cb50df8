from __future__ import annotations

import itertools
import random
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gnas_ext.errors import InputError
from gnas_ext.search import Categorical, Float, Gene, Genotype, Integer, LogFloat, SearchSpace, Tokens


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Up to five small genes, each of which may depend on some before it; a third of the spaces are constrained."""
    genes: dict[str, Gene] = {}
    for name in "abcde"[: draw(st.integers(1, 5))]:
        when = {
            other: draw(st.lists(st.sampled_from(list(genes[other].values)), min_size=1, max_size=2))
            for other in draw(st.sets(st.sampled_from(list(genes)), max_size=2) if genes else st.just(set()))
        }
        genes[name] = draw(
            st.sampled_from(
                [
                    Integer(0, 2, when=when),
                    Categorical([True, False], when=when),
                    Categorical(["x", None, 0.5], when=when),
                    LogFloat(0.1, 10, levels=3, when=when),
                    Float(-1, 1, levels=2, when=when),
                ]
            )
        )
    modulus = draw(st.sampled_from([1, 1, 2]))
    return SearchSpace(genes, valid=lambda g: len(str(g)) % modulus == 0)


def raw_sequences(space: SearchSpace) -> itertools.product[Tokens]:
    """Every sequence of tokens that the genes have, most of them not canonical."""
    return itertools.product(*(range(size + 1) for size in space.sizes))


def live_by_definition(space: SearchSpace, genotype: Genotype) -> set[str]:
    """The genes that should be in a genotype, from the words of `when` alone."""
    live: set[str] = set()
    for name, gene in space.genes.items():
        if all(other in live and genotype[other] in values for other, values in gene.when.items()):
            live.add(name)
    return live


@settings(deadline=None, max_examples=60)
@given(spaces(), st.randoms(use_true_random=False))
def test_what_is_encoded_decodes_to_the_same(space: SearchSpace, rng: random.Random) -> None:
    try:
        genotype = space.sample(rng)
    except InputError:
        assume(False)
    assert space.decode(space.encode(genotype)) == genotype
    assert space.genotype(genotype.as_dict()) == genotype


@settings(deadline=None, max_examples=60)
@given(spaces(), st.data())
def test_any_sequence_decodes_to_a_genotype_with_a_canonical_sequence_or_is_refused(
    space: SearchSpace, data: st.DataObject
) -> None:
    tokens = data.draw(st.tuples(*(st.integers(-1, size + 1) for size in space.sizes)))
    try:
        genotype = space.decode(tokens)
    except InputError as error:
        assert re.match(r"gene '[a-e]': |the space's `valid` refuses ", str(error))  # noqa: PT017
        return
    canonical = space.encode(genotype)
    assert space.decode(canonical) == genotype
    assert set(genotype) == live_by_definition(space, genotype)
    assert all(token == (tokens[i] if space.names[i] in genotype else 0) for i, token in enumerate(canonical))


@settings(deadline=None, max_examples=40)
@given(spaces())
def test_different_canonical_sequences_are_different_genotypes_and_all_are_listed(space: SearchSpace) -> None:
    space = SearchSpace(space.genes)
    decoded: set[Genotype] = set()
    for tokens in raw_sequences(space):
        try:
            decoded.add(space.decode(tokens))
        except InputError:
            continue
    listed = list(space.sequences())
    assert len(listed) == len(set(listed)) == len(decoded) == space.size()
    assert {space.decode(tokens) for tokens in listed} == decoded


def test_dead_genes_never_make_two_genotypes_differ() -> None:
    space = SearchSpace({"prior": Categorical([True, False]), "days": Integer(1, 9, when={"prior": [True]})})
    assert space.genotype({"prior": False, "days": 3}) == space.genotype({"prior": False}) == {"prior": False}
    assert space.decode((2, 7)) == space.decode((2, 0))
    assert space.encode(space.decode((2, 7))) == (2, 0)


def test_a_gene_below_a_dead_gene_is_dead_whatever_the_token_of_the_dead_one_says() -> None:
    space = SearchSpace(
        {
            "a": Categorical([True, False]),
            "b": Categorical([True, False], when={"a": [True]}),
            "c": Integer(1, 2, when={"b": [True]}),
        }
    )
    assert space.decode((2, 1, 1)) == {"a": False}


def test_size_counts_a_space_too_large_to_list() -> None:
    genes: dict[str, Gene] = {f"g{place}": Integer(0, 9) for place in range(20)}
    genes["on"] = Categorical([True, False])
    genes["depth"] = Integer(1, 5, when={"on": [True]})
    assert SearchSpace(genes).size() == 10**20 * 6


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hops": 2, "agg": "sum", "x": 1}, "gene 'x' is unknown; the genes are hops, agg"),
        ({"hops": 2}, r"gene 'agg' is missing; it is Categorical\(\['sum', 'mean'\]\)"),
        ({"hops": 5, "agg": "sum"}, "gene 'hops': expected a whole number from 1 to 4, got 5"),
        ({"hops": 4, "agg": "mean"}, "the space's `valid` refuses hops=4 agg=mean"),
    ],
)
def test_a_dict_that_is_no_genotype_is_refused_with_the_reason(values: dict[str, object], message: str) -> None:
    space = SearchSpace(
        {"hops": Integer(1, 4), "agg": Categorical(["sum", "mean"])}, valid=lambda g: g != {"hops": 4, "agg": "mean"}
    )
    with pytest.raises(InputError, match=message):
        space.genotype(values)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ((1,), r"expected 2 tokens, one a gene \(hops, agg\), got 1"),
        ((5, 1), "gene 'hops': expected a token from 0 to 4, got 5"),
        ((1, -1), "gene 'agg': expected a token from 0 to 2, got -1"),
        ((0, 1), "gene 'hops': token 0 stands for a dead gene, but here it is live"),
    ],
)
def test_a_sequence_that_is_no_genotype_is_refused_with_the_reason(tokens: Tokens, message: str) -> None:
    space = SearchSpace({"hops": Integer(1, 4), "agg": Categorical(["sum", "mean"])})
    with pytest.raises(InputError, match=message):
        space.decode(tokens)


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        ({}, "at least one gene"),
        ({"a": 3}, "expected a name and a gene"),
        (
            {"a": Integer(1, 2, when={"b": [1]}), "b": Integer(1, 2)},
            "'a' depends on 'b', which must be declared before",
        ),
        ({"b": Integer(1, 2), "a": Integer(1, 2, when={"b": [3]})}, "'a' depends on 'b': .* got 3"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(genes: dict[str, Gene], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        SearchSpace(genes)


def test_samples_are_valid_and_reach_every_genotype(space: SearchSpace) -> None:
    rng = random.Random(0)
    everything = {tokens for tokens in space.sequences() if space.allows(tokens)}
    drawn = {space.encode(space.sample(rng)) for _ in range(3000)}
    assert drawn == everything


def test_sampling_a_space_that_allows_nothing_is_refused() -> None:
    space = SearchSpace({"a": Integer(1, 3)}, valid=lambda g: False)
    with pytest.raises(InputError, match=r"`valid` refused 10,000 random genotypes, the last a=\d; loosen it"):
        space.sample(random.Random(0))
