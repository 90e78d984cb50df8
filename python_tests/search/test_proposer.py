from __future__ import annotations

from collections import Counter

import pytest

from gnas_ext.errors import InputError
from gnas_ext.search import Integer, SearchSpace, Stop, Trial
from gnas_ext.search.proposer import Proposal, Proposer

SPACE = SearchSpace({"a": Integer(0, 99), "b": Integer(0, 99)})


def trial(number: int, space: SearchSpace, tokens: tuple[int, ...], value: float | None) -> Trial:
    genotype = space.decode(tokens)
    if value is None:
        return Trial(number, genotype, "failed", reason="r")
    return Trial(number, genotype, "complete", (value,))


def propose(proposer: Proposer, number: int) -> Proposal:
    proposal = proposer.propose(number)
    assert isinstance(proposal, Proposal)
    return proposal


def test_recipes_come_first_then_random_ones_then_children() -> None:
    proposer = Proposer(SPACE, ["maximize"], seed=0, size=6, initial=[(3, 4), (5, 6)], predict=False)
    origins = []
    for number in range(60):
        proposal = propose(proposer, number)
        proposer.learn(trial(number, SPACE, proposal.tokens, sum(proposal.tokens)))
        origins.append(proposal.origin)
        assert len(proposal.parents) == {"mutation": 1, "crossover": 2}.get(proposal.origin, 0)
        assert all(parent < number for parent in proposal.parents)
    assert origins[:6] == ["initial"] * 2 + ["random"] * 4
    assert set(origins[6:]) == {"mutation", "crossover"}


def test_recipes_lost_when_a_search_side_by_side_was_cut_off_are_made_up_for() -> None:
    recipes = [(1, 1), (2, 2), (3, 3), (4, 4)]
    proposer = Proposer(SPACE, ["maximize"], seed=0, size=6, initial=recipes)
    for number, done in enumerate([recipes[0], recipes[3]]):  # while these ran, the others did and were lost
        proposer.learn(trial(number, SPACE, done, 1.0))
    first = propose(proposer, 2)
    second = proposer.propose(3, {first.tokens})
    assert [first, second] == [Proposal(recipes[1], "initial"), Proposal(recipes[2], "initial")]


def test_parents_are_the_fit() -> None:
    proposer = Proposer(SPACE, ["minimize"], seed=0, size=4, initial=[], predict=False)
    for number in range(20):
        proposer.learn(trial(number, SPACE, (number + 1, 50), abs(number - 10)))
    parents = Counter(parent for number in range(20, 220) for parent in propose(proposer, number).parents)
    assert set(parents) <= {9, 10, 11, 12, 8}
    assert parents[10] == max(parents.values())


def test_of_many_candidates_the_one_that_is_expected_to_be_best_is_proposed() -> None:
    proposer = Proposer(SPACE, ["maximize"], seed=0, size=20, initial=[])
    for number in range(60):
        a, b = number % 10 * 10 + 1, number // 6 * 10 + 1
        proposer.learn(trial(number, SPACE, (a, b), -abs(a - 41) - abs(b - 71)))
    for number in range(60, 80):
        a, b = propose(proposer, number).tokens
        assert abs(a - 41) + abs(b - 71) <= 30


def test_what_is_being_evaluated_is_not_proposed() -> None:
    space = SearchSpace({"a": Integer(1, 9)})
    proposer = Proposer(space, ["maximize"], seed=0, size=2, initial=[])
    running: set[tuple[int, ...]] = set()
    for number in range(9):
        proposal = proposer.propose(number, running)
        assert isinstance(proposal, Proposal)
        running.add(proposal.tokens)
    assert len(running) == 9
    assert proposer.propose(9, running) is Stop.EXHAUSTED


def test_failed_trials_have_no_children_and_do_not_come_again() -> None:
    space = SearchSpace({"a": Integer(1, 8)})
    proposer = Proposer(space, ["maximize"], seed=0, size=2, initial=[])
    for number in range(7):
        proposal = propose(proposer, number)
        assert proposal.origin == "random"
        proposer.learn(trial(number, space, proposal.tokens, None))
    seen = {propose(proposer, number).tokens for number in range(7, 30)}
    assert len(seen) == 1


def test_a_proposal_follows_from_the_seed_the_number_and_the_trials_alone() -> None:
    def after(seed: int, asked_before: int) -> list[Proposal]:
        proposer = Proposer(SPACE, ["maximize"], seed, size=4, initial=[])
        for number in range(10):
            for _ in range(asked_before):
                proposer.propose(number)
            proposer.learn(trial(number, SPACE, (number + 1, 9 - number + 1), number % 4))
        return [propose(proposer, number) for number in range(10, 20)]

    assert after(0, 0) == after(0, 3)
    assert after(0, 0) != after(1, 0)


def test_a_space_is_used_up_to_the_last_genotype_before_the_search_gives_up() -> None:
    space = SearchSpace(
        {"a": Integer(0, 99), "b": Integer(0, 99)}, valid=lambda g: g["a"] == g["b"] == 7 or g["a"] == 99
    )
    proposer = Proposer(space, ["maximize"], seed=0, size=5, initial=[])
    seen = set()
    for number in range(101):
        proposal = propose(proposer, number)
        seen.add(proposal.tokens)
        proposer.learn(trial(number, space, proposal.tokens, number))
    assert len(seen) == 101
    assert proposer.propose(101) is Stop.EXHAUSTED


def test_in_a_space_too_large_to_look_through_the_search_gives_up_when_nothing_new_turns_up() -> None:
    space = SearchSpace({f"g{place}": Integer(0, 99) for place in range(5)}, valid=lambda g: set(g.values()) == {0})
    proposer = Proposer(space, ["maximize"], seed=0, size=2, initial=[(1,) * 5])
    proposer.learn(trial(0, space, (1,) * 5, 0.0))
    assert proposer.propose(1) is Stop.NOTHING_NEW


@pytest.mark.parametrize(("genes", "tried"), [(1, "all 100 genotypes"), (5, "1,000 random genotypes")])
def test_a_space_that_allows_nothing_is_refused(genes: int, tried: str) -> None:
    space = SearchSpace({f"g{place}": Integer(0, 99) for place in range(genes)}, valid=lambda g: False)
    with pytest.raises(InputError, match=f"`valid` refuses {tried}: loosen it"):
        Proposer(space, ["maximize"], seed=0, size=2, initial=[]).propose(0)
