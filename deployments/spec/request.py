"""`Request`: the base of every endpoint's request schema."""

from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator


class Request(BaseModel):
    """A JSON body. Unknown fields are refused; `null` means not given, so the default applies.

    Other spellings that callers send are `validation_alias=AliasChoices(name, other, …)` of the field they mean.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False, ser_json_inf_nan="strings")

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data

    @property
    def nsfw_mark(self) -> bool | None:
        """Whether the body says that the call is NSFW; None when it says nothing."""
        return None

    def attestations(self) -> tuple[dict[str, Any], ...]:
        """What the caller attests, one entry a face that the request would put on somebody; none for most endpoints."""
        return ()

    @classmethod
    def spellings(cls) -> dict[str, str]:
        """Every accepted spelling of every field, mapped to the field's name."""
        known: dict[str, str] = {}
        for name, field in cls.model_fields.items():
            known[name] = name
            if isinstance(field.validation_alias, AliasChoices):
                known |= {str(choice): name for choice in field.validation_alias.choices}
        return known


class MarkedRequest(Request):
    """A request that can say whether it is NSFW."""

    nsfw: bool = Field(
        default=False,
        description="Marks the call as NSFW or, given as false, as SFW; comes back in `X-NSFW-Mode`. Pixels do not change.",
    )

    @property
    def nsfw_mark(self) -> bool | None:
        """What was given; the default is no mark."""
        return self.nsfw if "nsfw" in self.model_fields_set else None
