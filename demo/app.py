"""A page that explains the emotion in an uploaded clip, with evidence from face, voice and words.

    affectllm demo --model runs/quickstart/grpo

The page is on this machine only (127.0.0.1, no public link). Clips beyond the limits of size and length are refused.
"""

import html
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affectllm.errors import AffectError, missing_package
from affectllm.options import command

if TYPE_CHECKING:
    import gradio as gr

    from affectllm.explain import Explainer, Explanation

ACCENT = "#3b5bdb"
CHIP = f"display:inline-block;margin:2px;padding:4px 12px;border-radius:14px;background:{ACCENT};color:#fff"
CAPTION = {"face": "Face", "voice": "Voice", "words": "Words"}
ABOUT = (
    "Labels are a model's guess about what a person *shows*, not about what they feel. Do not use it to judge people. "
    "The bars say how much less likely the model finds its own answer without that modality."
)


@dataclass(frozen=True)
class Demo:
    model: str | None = None
    """Adapter folder, model folder or hub name of the model. Without it, the newest quickstart adapter."""
    port: int = 7860
    """Port of the page on 127.0.0.1."""
    max_mb: int = 100
    """Largest upload in MiB. Larger files are refused."""
    asr: str = "nano"
    """Speech model for clips without a subtitle: nano (English), or a folder or hub name of a Whisper."""
    max_seconds: float = 120.0
    """Longest clip in seconds. Longer ones are refused."""


def main(options: Demo) -> None:
    # Gradio reports usage unless this switches it off; this project reports nothing.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise missing_package("The demo", "demo") from error
    from affectllm.explain import default_model, load

    page = build_page(load(options.model or default_model()), options.max_seconds, options.asr)
    page.launch(server_name="127.0.0.1", server_port=options.port, share=False, max_file_size=options.max_mb * 2**20)


def build_page(explainer: "Explainer", max_seconds: float, asr: str = "nano") -> "gr.Blocks":
    """The page. Its one event is also an API end point named `explain`."""
    import gradio as gr
    from msgspec import to_builtins

    def explain(clip: str | None, subtitle: str, language: str, listen: bool) -> tuple[str, dict[str, Any]]:
        if not clip:
            raise gr.Error("Choose a clip first.")
        try:
            check_length(Path(clip), max_seconds)
            explanation = explainer.explain(clip, subtitle.strip() or None, language, asr if listen else None)
        except AffectError as error:
            raise gr.Error(str(error)) from error
        return show(explanation), to_builtins(explanation)

    with gr.Blocks(title="affectllm") as page:
        gr.Markdown(f"# Which emotions does this person show, and why?\n{ABOUT}")
        with gr.Row():
            with gr.Column():
                clip = gr.Video(label="Clip", sources=["upload", "webcam"])
                subtitle = gr.Textbox(label="What is said (optional)")
                listen = gr.Checkbox(label="Without a subtitle, write down what is said (automatic)")
                language = gr.Radio(["en", "zh"], value="en", label="Language")
                button = gr.Button("Explain", variant="primary")
            with gr.Column():
                answer = gr.HTML(label="Explanation")
                with gr.Accordion("Everything, as JSON", open=False):
                    raw = gr.JSON()
        button.click(explain, [clip, subtitle, language, listen], [answer, raw], api_name="explain")
    return page


def check_length(clip: Path, max_seconds: float) -> None:
    from affectllm.media import probe

    duration_s = probe(clip).duration_s
    if duration_s is not None and duration_s > max_seconds:
        raise AffectError(
            f"The clip is {duration_s:.0f} s long; this page takes up to {max_seconds:.0f} s. "
            "Cut it, or use affectllm explain."
        )


def show(explanation: "Explanation") -> str:
    """The explanation as HTML. Every word of it is escaped, since subtitles and answers may hold anything."""
    chips = "".join(f'<span style="{CHIP}">{html.escape(label)}</span>' for label in explanation.labels)
    strongest = (
        max((abs(e.influence) for e in explanation.evidence.values() if e.influence is not None), default=0.0) or 1.0
    )
    rows = "".join(
        evidence_row(CAPTION[name], e.influence, e.statements, strongest) for name, e in explanation.evidence.items()
    )
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in explanation.notes)
    said = html.escape(explanation.reasoning or explanation.answer)
    unread = "" if explanation.labels else "<p><b>No label could be read from the model's answer.</b></p>"
    return f"<div>{chips}{unread}<p>{said}</p><table style='width:100%'>{rows}</table><ul>{notes}</ul></div>"


def evidence_row(name: str, influence: float | None, statements: list[str], strongest: float) -> str:
    if influence is None:
        bar = "<i>not in the clip</i>"
    else:
        width = max(2, round(100 * abs(influence) / strongest))
        color = ACCENT if influence >= 0 else "#adb5bd"
        style = f"width:{width}%;height:10px;border-radius:5px;background:{color}"
        bar = f'<div title="{influence:+.3f} nats" style="{style}"></div>'
    said = html.escape(" ".join(statements))
    return f"<tr><td style='width:5em'><b>{name}</b></td><td style='width:30%'>{bar}</td><td>{said}</td></tr>"


if __name__ == "__main__":
    command(main)
