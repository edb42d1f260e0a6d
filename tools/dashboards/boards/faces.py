"""Faces, and what is refused."""

from tools.dashboards.boards.words import NO_FAULT, mean, over
from tools.dashboards.build import Board, Panel, Query, Row

FACES = Board(
    "faces",
    "Faces and quality",
    "Are faces found, and what is refused?",
    (
        Row(
            "Faces",
            (
                Panel(
                    "Frames",
                    "A second: with a face swapped, and without.",
                    "short",
                    (Query("sum by (model, outcome) (rate(ray_ryla_face_frames_total[$__rate_interval]))", "{{model}} {{outcome}}"),),
                    "stacked",
                ),
                Panel(
                    "Missed",
                    "Part of frames without a swapped face.",
                    "percentunit",
                    (
                        Query(
                            over("ray_ryla_face_frames_total", "ray_ryla_face_frames_total", "model", first='outcome="missed"'),
                            "{{model}}",
                            "every frame had its face",
                        ),
                    ),
                ),
                Panel(
                    "Swap and track",
                    "Mean seconds of a call.",
                    "s",
                    (
                        Query(
                            mean("ray_ryla_stage_seconds", "model, stage", 'stage=~"swap|track"'),
                            "{{model}} {{stage}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Refused",
            (
                Panel(
                    "No face",
                    "Calls an hour whose picture shows no usable face.",
                    "short",
                    (
                        Query(
                            'sum(rate(ray_ryla_refusals_total{reason="NoFaceFound"}[1h])) * 3600', "no face", "every picture had its face"
                        ),
                    ),
                ),
                Panel(
                    "Safety and licence",
                    "Calls an hour that the rules refuse.",
                    "short",
                    (
                        Query(
                            'sum by (reason) (rate(ray_ryla_refusals_total{reason=~"Refused|NotLicensed|Forbidden"}[1h])) * 3600',
                            "{{reason}}",
                            NO_FAULT,
                        ),
                    ),
                ),
                Panel(
                    "Faces refused",
                    "Swaps an hour that the safety rules refuse, by rule.",
                    "short",
                    (Query("sum by (rule) (rate(ray_ryla_face_refusals_total[1h])) * 3600", "{{rule}}", NO_FAULT),),
                    "stacked",
                ),
                Panel(
                    "Bad media",
                    "Calls an hour with pictures, clips or LoRAs that cannot be used.",
                    "short",
                    (
                        Query(
                            'sum by (reason) (rate(ray_ryla_refusals_total{reason=~"BadMedia|TooLarge|LoraRejected"}[1h])) * 3600',
                            "{{reason}}",
                            NO_FAULT,
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Clips",
            (
                Panel(
                    "Quality gates",
                    "Clips an hour by what the gates found: ok, or a kind of fault.",
                    "short",
                    (Query("sum by (model, found) (rate(ray_ryla_clips_judged_total[1h])) * 3600", "{{model}} {{found}}"),),
                    "stacked",
                ),
            ),
        ),
    ),
)
