"""`Request`: the base of every endpoint's request schema."""

from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, model_validator


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

    @classmethod
    def spellings(cls) -> dict[str, str]:
        """Every accepted spelling of every field, mapped to the field's name."""
        known: dict[str, str] = {}
        for name, field in cls.model_fields.items():
            known[name] = name
            if isinstance(field.validation_alias, AliasChoices):
                known |= {str(choice): name for choice in field.validation_alias.choices}
        return known
