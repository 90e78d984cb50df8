"""What does a step do that comes after others? It sees the rows as they come back, and they are kept as they were.

A model has a storing step (Bits, Groups, Codes) and a sharing one (Fold, NarrowRare), or none, behind it. Whatever
comes next works on float32 rows, what the codes stand for; then rare rows are shared again, and all are stored again:
of fewer columns in fewer bytes, and where rare rows are shared without learning and rare bytes. Two things are better
done than so: what is taught after it was stored learns with the codes in sight, unless rows are shared; and a storing
step after another one takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from gnas_ext.compress.quantize import quantize_model
from gnas_ext.errors import InputError
from gnas_ext.models.coded import WIDEST_PART, CodedModel
from gnas_ext.models.factors import FactorModel

if TYPE_CHECKING:
    from gnas_ext.compress.distil import Student
    from gnas_ext.compress.step import Context, Step


@dataclass(frozen=True, eq=False)
class Made:
    """A model, and how its rows are kept.

    Attributes:
        model: as it is now.
        storing: the step that would store its rows as they are stored; None for float32.
        sharing: likewise for rare rows; None where each has its own.
    """

    model: Student
    storing: Step | None = None
    sharing: Step | None = None


def follow(step: Step, made: Made, context: Context) -> Made:
    """What a step makes of a model.

    Args:
        step: what is done now.
        made: the model after the steps before.
        context: what steps work with.

    Raises:
        InputError: rare rows are to be shared once more, or groups stored by a step that cannot.
    """
    now, storing, sharing = made.model, made.storing, made.sharing
    if step.idle:
        return made
    if step.stores:
        rows = now if storing is None else _shared(sharing, _floats(now), context)
        # 32 bits are float32 again.
        return Made(_stored(step, rows, context), step if getattr(step, "bits", 8) < 32 else None, sharing)
    if step.shares and sharing is not None:
        raise InputError(f"recipe: {step} cannot follow {sharing}: rare rows are shared once; leave one out")
    learning = step.in_sight_of(storing) if storing is not None and sharing is None else None
    if learning is not None:
        both, told = learning
        context.taught()  # for the steps to come too
        return replace(made, model=both(_floats(now), replace(context, options=replace(context.options, **told))))
    plain = now if storing is None and sharing is None else _floats(now)
    model = step(plain, context)
    if step.shares:
        sharing = step if isinstance(model, CodedModel) else None
    else:
        assert isinstance(model, FactorModel)
        model = _shared(sharing, model, context)
    if storing is None:
        return Made(model, None, sharing)
    storing = _narrowed(storing, plain.user.width, model.user.width, sharing is not None)
    return Made(_stored(storing, model, context), storing, sharing)


def _floats(model: Student) -> FactorModel:
    return quantize_model(model.decoded() if isinstance(model, CodedModel) else model, 32)


def _shared(sharing: Step | None, model: FactorModel, context: Context) -> Student:
    """Rare rows shared again; they were taught then, and are not again."""
    if sharing is None:
        return model
    width = model.user.width
    return _but(sharing, epochs=0, keep=min(getattr(sharing, "keep", width), width))(model, context)


def _stored(step: Step, model: Student, context: Context) -> Student:
    if not step.takes(model):
        raise InputError(
            f"recipe: {step} cannot follow: rows are in groups by then, which are stored without passes, solves and "
            "rare bytes; leave these out, or move it forward"
        )
    return step(model, context)


def _narrowed(storing: Step, before: int, width: int, grouped: bool) -> Step:
    """The step for rows of so many columns, a byte for as many of them as before; of groups without learning."""
    sizes = {
        name: min(width, max(-(-width // WIDEST_PART), round(size * width / before)))
        for name in ("user_bytes", "item_bytes", "rare_bytes")
        if (size := getattr(storing, name, None)) is not None
    }
    return _but(storing, **sizes, **({"epochs": 0, "solves": None, "rare_share": 0.0} if grouped else {}))


def _but(step: Any, **options: Any) -> Step:
    """The step with other options, of those that it has."""
    own = {field.name for field in fields(step)}
    found: Step = replace(step, **{name: value for name, value in options.items() if name in own})
    return found
