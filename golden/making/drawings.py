"""Drawn pictures without a photographic face: cartoons, documents, memes and screenshots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Colour = tuple[int, int, int]
Line = NDArray[np.float64]
FINE = 2  # drawings are made at twice their size and reduced


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own typeface: the same letters on every machine."""
    return ImageFont.load_default(size)


def _canvas(size: tuple[int, int], colour: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (size[0] * FINE, size[1] * FINE), colour)
    return image, ImageDraw.Draw(image)


def _finish(image: Image.Image) -> Image.Image:
    return image.resize((image.width // FINE, image.height // FINE), Image.Resampling.LANCZOS)


def _ball(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], radii: tuple[float, float], dark: Colour, light: Colour
) -> None:
    """Ellipse shaded towards its upper left."""
    steps = 40
    for k in range(steps):
        share = k / (steps - 1)
        colour = tuple(round(d + (li - d) * share**0.7) for d, li in zip(dark, light, strict=True))
        rx, ry = radii[0] * (1 - 0.85 * share), radii[1] * (1 - 0.85 * share)
        x, y = centre[0] - radii[0] * 0.25 * share, centre[1] - radii[1] * 0.3 * share
        draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=colour)


def _eye(draw: ImageDraw.ImageDraw, centre: tuple[float, float], size: float, iris: Colour) -> None:
    x, y = centre
    draw.ellipse(
        (x - size, y - 0.6 * size, x + size, y + 0.6 * size), fill=(250, 250, 250), outline=(40, 30, 30), width=3
    )
    draw.ellipse((x - 0.5 * size, y - 0.55 * size, x + 0.5 * size, y + 0.55 * size), fill=iris)
    draw.ellipse((x - 0.25 * size, y - 0.3 * size, x + 0.25 * size, y + 0.3 * size), fill=(10, 10, 10))
    draw.ellipse((x - 0.3 * size, y - 0.4 * size, x - 0.05 * size, y - 0.15 * size), fill=(255, 255, 255))


def cartoon_woman(seed: int) -> Image.Image:
    """A shaded cartoon portrait, 600 x 720."""
    rng = np.random.default_rng(seed)
    image, draw = _canvas((600, 720), (150, 200, 190))
    hair = (110, 50, 30)
    draw.ellipse((240, 160, 980, 1180), fill=hair)
    draw.rectangle((520, 1000, 700, 1240), fill=(214, 160, 128))
    draw.pieslice((140, 1140, 1080, 2000), 180, 360, fill=(190, 60, 80))
    _ball(draw, (610, 660), (290, 380), (214, 160, 128), (244, 200, 170))
    draw.pieslice((280, 200, 940, 860), 190, 350, fill=hair)
    for side, x in ((-1, 490), (1, 730)):
        _eye(draw, (x, 640), 62, (60, 110, 70))
        draw.arc((x - 80, 530 + 4 * side, x + 80, 640), 200, 340, fill=hair, width=14)
    draw.line((610, 680, 585, 790, 625, 800), fill=(180, 120, 95), width=8)
    draw.chord((520, 820, 700, 920), 10, 170, fill=(190, 50, 60))
    for _ in range(40):
        x, y = rng.normal(0, 1, 2)
        draw.ellipse((480 + 40 * x, 760 + 20 * y, 484 + 40 * x, 764 + 20 * y), fill=(190, 120, 90))
    return _finish(image)


def cartoon_boy(seed: int) -> Image.Image:
    """A flat cartoon of a boy with a cap beside a house, 760 x 520."""
    rng = np.random.default_rng(seed)
    image, draw = _canvas((760, 520), (135, 206, 250))
    draw.rectangle((0, 800, 1520, 1040), fill=(90, 170, 80))
    draw.rectangle((900, 360, 1360, 820), fill=(230, 200, 140), outline=(60, 40, 20), width=6)
    draw.polygon([(860, 360), (1130, 160), (1400, 360)], fill=(180, 60, 50), outline=(60, 40, 20))
    draw.rectangle((980, 460, 1080, 560), fill=(120, 180, 220), outline=(60, 40, 20), width=6)
    draw.rectangle((260, 720, 560, 1040), fill=(60, 90, 190))
    draw.ellipse((220, 300, 600, 760), fill=(250, 214, 180), outline=(60, 40, 20), width=6)
    draw.pieslice((210, 240, 610, 640), 180, 360, fill=(200, 40, 40), outline=(60, 40, 20))
    draw.rectangle((400, 420, 700, 450), fill=(160, 30, 30))
    for x in (340, 470):
        draw.ellipse((x - 22, 500, x + 22, 560), fill=(30, 30, 40))
    draw.arc((330, 560, 500, 690), 20, 160, fill=(120, 40, 40), width=10)
    for _ in range(30):
        x, y = int(rng.integers(0, 1520)), int(rng.integers(840, 1030))
        draw.line((x, y, x + 4, y - 16), fill=(60, 130, 60), width=4)
    return _finish(image)


def cartoon_cat(seed: int) -> Image.Image:
    """A shaded cat's head, 560 x 480."""
    rng = np.random.default_rng(seed)
    image, draw = _canvas((560, 480), (240, 224, 200))
    for corner in ([(240, 420), (250, 110), (480, 260)], [(640, 260), (870, 110), (880, 420)]):
        draw.polygon(corner, fill=(150, 110, 70))
    _ball(draw, (560, 520), (340, 300), (150, 110, 70), (200, 160, 110))
    for x in (440, 680):
        draw.ellipse((x - 70, 400, x + 70, 520), fill=(190, 210, 90), outline=(40, 30, 20), width=6)
        draw.ellipse((x - 18, 405, x + 18, 515), fill=(15, 15, 15))
    draw.polygon([(525, 590), (595, 590), (560, 630)], fill=(200, 110, 110))
    draw.line((560, 630, 560, 670), fill=(60, 40, 30), width=6)
    draw.arc((470, 620, 560, 710), 0, 120, fill=(60, 40, 30), width=6)
    draw.arc((560, 620, 650, 710), 60, 180, fill=(60, 40, 30), width=6)
    for side in (-1, 1):
        for k in range(4):
            y = 620 + 26 * k
            draw.line(
                (560 + side * 110, y, 560 + side * 380, y + int(rng.integers(-60, 60))), fill=(250, 245, 235), width=4
            )
    for _ in range(14):
        x = int(rng.integers(420, 700))
        draw.line((x, 260, x + int(rng.integers(-20, 20)), 340), fill=(110, 75, 45), width=10)
    return _finish(image)


def cartoon_dog(seed: int) -> Image.Image:
    """A flat dog in a meadow, 720 x 540."""
    rng = np.random.default_rng(seed)
    image, draw = _canvas((720, 540), (180, 220, 240))
    draw.rectangle((0, 700, 1440, 1080), fill=(110, 180, 90))
    draw.rounded_rectangle((420, 560, 1040, 840), 130, fill=(196, 140, 84))
    for x in (480, 600, 860, 960):
        draw.rounded_rectangle((x, 760, x + 70, 1000), 30, fill=(180, 124, 70))
    draw.arc((980, 380, 1180, 700), 300, 90, fill=(196, 140, 84), width=40)
    _ball(draw, (420, 500), (190, 180), (176, 120, 70), (222, 170, 112))
    draw.ellipse((190, 360, 300, 640), fill=(120, 76, 40))
    draw.ellipse((540, 360, 650, 640), fill=(120, 76, 40))
    draw.ellipse((320, 510, 520, 660), fill=(240, 214, 180))
    draw.ellipse((380, 520, 460, 580), fill=(30, 20, 20))
    for x in (350, 490):
        draw.ellipse((x - 26, 420, x + 26, 480), fill=(20, 15, 15))
        draw.ellipse((x - 14, 428, x, 442), fill=(255, 255, 255))
    for _ in range(60):
        x, y = int(rng.integers(0, 1440)), int(rng.integers(720, 1070))
        draw.ellipse((x, y, x + 10, y + 10), fill=(250, 230, 90))
    return _finish(image)


def cartoon_snowman(seed: int) -> Image.Image:
    """A snowman in falling snow, 500 x 700."""
    rng = np.random.default_rng(seed)
    image, draw = _canvas((500, 700), (90, 120, 170))
    draw.rectangle((0, 1160, 1000, 1400), fill=(235, 240, 248))
    for y, r in ((1080, 240), (740, 180), (480, 130)):
        _ball(draw, (480, y), (r, r), (190, 200, 215), (252, 252, 255))
    draw.rectangle((380, 220, 580, 370), fill=(40, 36, 44))
    draw.rectangle((320, 360, 640, 385), fill=(40, 36, 44))
    for x in (430, 530):
        draw.ellipse((x - 14, 440, x + 14, 468), fill=(20, 20, 24))
    draw.polygon([(480, 480), (640, 510), (480, 510)], fill=(235, 130, 40))
    for k in range(5):
        draw.ellipse((420 + 26 * k, 545 - 8 * abs(k - 2), 436 + 26 * k, 561 - 8 * abs(k - 2)), fill=(20, 20, 24))
    draw.line((640, 700, 860, 560), fill=(90, 60, 40), width=16)
    for _ in range(150):
        x, y = int(rng.integers(0, 1000)), int(rng.integers(0, 1400))
        draw.ellipse((x, y, x + 9, y + 9), fill=(255, 255, 255))
    return _finish(image)


def sketch_portrait(seed: int) -> Image.Image:
    """A pencil drawing of a face, many shaky strokes, 480 x 640."""
    rng = np.random.default_rng(seed)
    image, draw = _canvas((480, 640), (244, 240, 230))

    t: Line = np.linspace(0, 1, 60)

    def stroke(x: Line, y: Line, times: int, width: int = 2) -> None:
        for _ in range(times):
            a = x + rng.normal(0, 2.5) + rng.normal(0, 0.8, 60)
            b = y + rng.normal(0, 2.5) + rng.normal(0, 0.8, 60)
            grey = int(rng.integers(40, 120))
            draw.line([(float(u), float(v)) for u, v in zip(a, b, strict=True)], fill=(grey, grey, grey), width=width)

    stroke(480 + 260 * np.cos(6.3 * t), 620 + 350 * np.sin(6.3 * t), 9)
    for c in (370, 590):
        stroke(c + 62 * np.cos(6.3 * t), 570 + 28 * np.sin(6.3 * t), 6)
        stroke(c + 20 * np.cos(6.3 * t), 570 + 22 * np.sin(6.3 * t), 14, 4)
        stroke(c - 80 + 160 * t, 505 - 26 * np.sin(3.14 * t), 10, 3)
    stroke(480 - 40 * np.sin(3.14 * t * t), 590 + 140 * t, 5)
    stroke(390 + 180 * t, 820 + 26 * np.sin(3.14 * t), 8, 3)
    stroke(400 + 160 * t, 822 - 14 * np.sin(6.28 * t), 6)
    for _ in range(160):
        angle, length = rng.uniform(3.3, 6.1), rng.uniform(60, 200)
        x, y = 480 + (262 + length * t) * np.cos(angle), 600 + (340 + 0.6 * length * t) * np.sin(angle)
        stroke(x, y, 1)
    for k in range(50):
        stroke(620 + 2.2 * k - 60 * t, 560 + 5 * k + 60 * t, 1)
    return _finish(image.filter(ImageFilter.GaussianBlur(0.7)))


def document_letter(seed: int) -> Image.Image:
    """A typed page, 620 x 876."""
    rng = np.random.default_rng(seed)
    words = [
        "the",
        "contract",
        "names",
        "every",
        "value",
        "that",
        "a",
        "release",
        "depends",
        "on",
        "and",
        "who",
        "has",
        "set",
        "it",
        "after",
        "which",
        "experiment",
    ]
    image = Image.new("RGB", (620, 876), (252, 251, 246))
    draw = ImageDraw.Draw(image)
    draw.text((70, 60), "Notice of inspection", fill=(20, 20, 30), font=font(28))
    draw.line((70, 100, 550, 100), fill=(90, 90, 90), width=2)
    for line in range(34):
        y, x = 130 + 19 * line, 70
        while x < 500 and line % 9 != 8:
            word = words[int(rng.integers(len(words)))]
            draw.text((x, y), word, fill=(30, 30, 30), font=font(13))
            x += int(draw.textlength(word, font=font(13))) + 6
    draw.arc((400, 780, 520, 840), 150, 20, fill=(30, 40, 140), width=3)
    return image


def document_badge(seed: int) -> Image.Image:
    """A form with a face silhouette in place of a photograph, 720 x 460."""
    rng = np.random.default_rng(seed)
    image, draw = _canvas((720, 460), (226, 236, 246))
    draw.rounded_rectangle((20, 20, 1420, 900), 40, fill=(240, 246, 252), outline=(60, 90, 140), width=6)
    draw.rectangle((80, 200, 480, 720), fill=(190, 200, 214), outline=(60, 90, 140), width=4)
    draw.ellipse((190, 270, 370, 500), fill=(110, 124, 146))
    draw.pieslice((120, 510, 440, 930), 180, 360, fill=(110, 124, 146))
    draw.text((80, 70), "VISITOR", fill=(40, 70, 120), font=font(76))
    for k, name in enumerate(("Name", "Number", "Valid until", "Signature")):
        y = 220 + 130 * k
        draw.text((560, y), name, fill=(80, 100, 130), font=font(34))
        text = "".join(str(int(d)) for d in rng.integers(0, 10, 9))
        draw.text((560, y + 44), text, fill=(20, 20, 30), font=font(48))
    return _finish(image)


def document_chart(seed: int) -> Image.Image:
    """A page with a bar chart and a table, 800 x 600."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (800, 600), "white")
    draw = ImageDraw.Draw(image)
    draw.text((40, 24), "Abstentions by month", fill=(20, 20, 20), font=font(26))
    for k in range(12):
        height = int(rng.integers(30, 260))
        draw.rectangle((60 + 56 * k, 340 - height, 96 + 56 * k, 340), fill=(int(40 + 15 * k), 110, 180))
    draw.line((50, 340, 750, 340), fill=(0, 0, 0), width=2)
    for row in range(6):
        for column in range(5):
            x, y = 60 + 140 * column, 380 + 34 * row
            draw.rectangle((x, y, x + 140, y + 34), outline=(150, 150, 150))
            draw.text((x + 12, y + 8), f"{float(rng.uniform(0, 100)):.1f}", fill=(30, 30, 30), font=font(15))
    return image


def smiley(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], mood: int) -> None:
    """A yellow emoji."""
    x0, y0, x1, _ = box
    w = x1 - x0
    draw.ellipse(box, fill=(255, 205, 60), outline=(200, 140, 20), width=max(w // 40, 1))
    for dx in (0.32, 0.68):
        draw.ellipse((x0 + dx * w - 0.07 * w, y0 + 0.3 * w, x0 + dx * w + 0.07 * w, y0 + 0.5 * w), fill=(70, 45, 20))
    if mood % 2:
        draw.chord((x0 + 0.24 * w, y0 + 0.4 * w, x1 - 0.24 * w, y0 + 0.84 * w), 0, 180, fill=(120, 40, 30))
    else:
        draw.arc(
            (x0 + 0.26 * w, y0 + 0.6 * w, x1 - 0.26 * w, y0 + 0.9 * w),
            200,
            340,
            fill=(70, 45, 20),
            width=max(w // 20, 1),
        )


def meme_emoji(seed: int) -> Image.Image:
    """One large emoji under a caption, 640 x 600."""
    del seed
    image, draw = _canvas((640, 600), (30, 60, 120))
    smiley(draw, (260, 260, 1020, 1020), 1)
    draw.text(
        (640, 110),
        "IT PASSED ON MY MACHINE",
        fill="white",
        font=font(84),
        anchor="mm",
        stroke_width=6,
        stroke_fill="black",
    )
    draw.text((640, 1110), "SHIP IT", fill="white", font=font(110), anchor="mm", stroke_width=8, stroke_fill="black")
    return _finish(image)


def screenshot_chat(seed: int) -> Image.Image:
    """A messenger window with emoji avatars, 420 x 800."""
    rng = np.random.default_rng(seed)
    image, draw = _canvas((420, 800), (236, 229, 221))
    draw.rectangle((0, 0, 840, 120), fill=(18, 140, 126))
    draw.text((140, 36), "Release crew", fill="white", font=font(48))
    smiley(draw, (30, 20, 110, 100), 1)
    lines = (
        "is the report done?",
        "two gates are red",
        "which ones",
        "blur and size",
        "then it stays here",
        "see you at ten",
    )
    for k, line in enumerate(lines * 2):
        y, mine = 160 + 118 * k, bool(k % 2)
        width = 40 + int(draw.textlength(line, font=font(36)))
        x = 800 - width if mine else 120
        draw.rounded_rectangle((x, y, x + width, y + 84), 24, fill=(220, 248, 198) if mine else (255, 255, 255))
        draw.text((x + 20, y + 20), line, fill=(20, 20, 20), font=font(36))
        if not mine:
            smiley(draw, (24, y, 104, y + 80), int(rng.integers(2)))
    return _finish(image)


def screenshot_editor(seed: int) -> Image.Image:
    """A dark text editor, 900 x 560."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (900, 560), (30, 32, 40))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, 900, 30), fill=(50, 52, 62))
    draw.rectangle((0, 30, 180, 560), fill=(40, 42, 52))
    palette = ((130, 200, 255), (240, 180, 110), (160, 220, 140), (210, 210, 220))
    for k in range(26):
        draw.text((14, 44 + 19 * k), f"file_{k:02d}.py", fill=(150, 155, 170), font=font(13))
        x = 210 + 24 * int(rng.integers(0, 4))
        for _ in range(int(rng.integers(1, 7))):
            width = int(rng.integers(24, 110))
            draw.rounded_rectangle((x, 48 + 19 * k, x + width, 58 + 19 * k), 3, fill=palette[int(rng.integers(4))])
            x += width + 10
    return image


KNOWN_LEAKS = ((cartoon_woman, 1), (sketch_portrait, 5))
"""Drawings that the default face detector takes for faces as surely as photographs (golden/README.md has the scores).

They are not in the golden set, because no threshold that finds real faces abstains on them; they are kept so that
the limit can be measured and shown.
"""
