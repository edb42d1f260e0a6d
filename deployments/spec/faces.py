"""What every endpoint with a face swap shares: who gets which face, masks, finish, and whose consent the caller attests."""

import hashlib
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deployments.spec.fields import Picture, RequireFace, RestoreFace
from deployments.spec.inputs import PICTURE_LIMITS, picture
from deployments.spec.request import Request
from models.media import data_url
from models.task import FaceChoice, FaceMask, SourceFace, SwapFaces

MORE_FACES = 3

FaceRule = Annotated[
    str,
    Field(
        pattern=r"^(largest|left|right|all|reference|index:\d{1,2})$",
        description="Who gets the face: largest, left or right of the first frame with a face; index:n counts its faces from the left, "
        "from 0; reference is the person in target_face; all is everybody (up to eight) whom no other choice names. Whoever is chosen "
        "keeps the face over cuts, told by their own face.",
    ),
]
TargetFace = Annotated[
    Picture | None,
    Field(description="With face=reference: a picture of the person in the target who gets the face, as data URL or base64."),
]
Share = Annotated[float, Field(ge=0, le=0.9)]


class Consent(BaseModel):
    """What the caller attests about a source face; stored with the job, beside the picture's SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attested: bool = Field(description="True: the person shown agreed to this use of their face, or nobody is shown who exists.")
    persona: str | None = Field(
        default=None, max_length=120, description="Name of the registered platform persona this is; compared with the registered face."
    )
    record: str | None = Field(default=None, max_length=200, description="The caller's own reference to the consent, such as a contract's.")


class FaceItem(BaseModel):
    """One more source face, for somebody else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    face_image: Picture
    face: FaceRule
    target_face: TargetFace = None
    consent: Consent | None = Field(default=None, description="What the caller attests about this face.")

    @model_validator(mode="after")
    def _reference_is_given(self) -> "FaceItem":
        _check_choice(self.face, self.target_face)
        return self


class FaceFields(Request):
    """Fields of a face swap; the source picture itself is the endpoint's own field."""

    face: FaceRule = "largest"
    target_face: TargetFace = None
    more_faces: tuple[FaceItem, ...] = Field(
        default=(), max_length=MORE_FACES, description=f"More source faces for other people in the target, at most {MORE_FACES}."
    )
    consent: Consent | None = Field(
        default=None,
        description="What the caller attests about the source face; stored with the job. Required where the operator demands it (403).",
    )
    keep_occlusion: bool = Field(
        default=False,
        description="Leave hands, hair and glasses' rims in front of the face where they are seen. Some 9 ms of CPU more a face and frame.",
    )
    mask_oval: bool = Field(default=False, description="Use the painted face inside its oval only; the embedded engine always does.")
    mask_blur: float = Field(default=0.0, ge=0, le=1, description="Soft edge inward from the face's sides, as a share of half of it.")
    mask_padding: tuple[Share, Share, Share, Share] = Field(
        default=(0.0, 0.0, 0.0, 0.0),
        description="How far the face's top, right, bottom and left sides are drawn in, as shares of the face.",
    )
    pixel_boost: Literal[128, 256, 512] = Field(
        default=128,
        description="Pixels at which the insightface engine paints: 256 and 512 take 4 and 16 times as long. No effect on the embedded "
        "engine, which paints at the frame's own resolution.",
    )
    restore_face: RestoreFace = None
    face_restore_visibility: float = Field(default=1.0, ge=0, le=1, description="How much of the restored face is blended in.")
    require_face: RequireFace = False

    @model_validator(mode="after")
    def _choices_fit(self) -> "FaceFields":
        _check_choice(self.face, self.target_face)
        rules = [self.face, *(item.face for item in self.more_faces)]
        twice = {rule for rule in rules if rule != "reference" and rules.count(rule) > 1}
        if twice:
            raise ValueError(f"two source faces are for face={twice.pop()!r}; choose another person for one of them")
        return self

    def swap_task(self, source: str, field: str, seed: int, **more: Any) -> SwapFaces:
        """The task that puts the face in `source` (the request's field `field`) and those of `more_faces` on their targets."""
        return SwapFaces(
            source=picture(source, field),
            face=_choice(self.face, self.target_face, "target_face"),
            others=tuple(_source(item, f"more_faces.{row}") for row, item in enumerate(self.more_faces)),
            persona=None if self.consent is None else self.consent.persona,
            mask=FaceMask(oval=self.mask_oval, occlusion=self.keep_occlusion, blur=self.mask_blur, padding=self.mask_padding),
            boost=self.pixel_boost // 128,
            restore=self.restore_face,
            restore_visibility=self.face_restore_visibility,
            require_face=self.require_face,
            seed=seed,
            **more,
        )

    def source_field(self) -> str:
        """Name of the endpoint's field with the source picture."""
        return "face_image" if "face_image" in type(self).model_fields else "reference_image"

    def attestations(self) -> tuple[dict[str, Any], ...]:
        """One entry a source face: its field, the picture's SHA-256 and what the caller attests."""
        field = self.source_field()
        sources = [(field, str(getattr(self, field)), self.consent)]
        sources += [(f"more_faces.{row}.face_image", item.face_image, item.consent) for row, item in enumerate(self.more_faces)]
        return tuple(_attestation(*source) for source in sources)


def _attestation(field: str, text: str, consent: Consent | None) -> dict[str, Any]:
    digest = hashlib.sha256(data_url(text, field, PICTURE_LIMITS)).hexdigest()
    given = {"attested": False, "persona": None, "record": None} if consent is None else consent.model_dump()
    return {"field": field, "picture_sha256": digest} | given


def _check_choice(face: str, target_face: str | None) -> None:
    if (face == "reference") != (target_face is not None):
        raise ValueError("face=reference and target_face, a picture of the person who gets the face, go together: send both or neither")


def _choice(face: str, target_face: str | None, field: str) -> FaceChoice:
    if target_face is not None:
        return FaceChoice(by="reference", reference=picture(target_face, field))
    if match := re.fullmatch(r"index:(\d+)", face):
        return FaceChoice(by="index", index=int(match[1]))
    return FaceChoice(by=face)  # pyright: ignore[reportArgumentType]  # the field's pattern allows no other


def _source(item: FaceItem, where: str) -> SourceFace:
    return SourceFace(
        image=picture(item.face_image, f"{where}.face_image"),
        face=_choice(item.face, item.target_face, f"{where}.target_face"),
        persona=None if item.consent is None else item.consent.persona,
    )
