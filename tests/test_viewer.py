"""The episode's page: its data are the film's, and in a browser every control does what it says."""

import base64
import gzip
import json
import os
import re

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys

from remdm.analysis.film import TOKENS
from remdm.analysis.gallery import draw as draw_gallery
from remdm.analysis.page import WEB
from remdm.analysis.viewer import luminance, viewer_page, write_viewer
from remdm.base.errors import UserError
from remdm.cli import main
from tests import browser
from tests.browser import assert_quiet, click, focused, opened, press, slide, texts, wait
from tests.conftest import REPOSITORY
from tests.test_film import filmed, hand_made, toy_planner
from tests.toy import toy_expert

NASTY = "</script><img src=x onerror=window.hit=1>&amp;"


def save(folder, film, policy, env="Toy", seed=0):
    """A film's results folder."""
    folder.mkdir(parents=True)
    np.savez_compressed(folder / "film.npz", **film._asdict())
    run = {"seed": seed, "stage": "film", "config": {"env_name": env, "policy": policy}}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


@pytest.fixture(scope="module")
def films():
    """An untrained planner that an expert is asked beside, and this expert, in one world."""
    return [filmed(policy, expert=toy_expert()) for policy in (toy_planner(2, False), toy_expert())]


@pytest.fixture(scope="module")
def folders(films, tmp_path_factory):
    results = tmp_path_factory.mktemp("films")
    names = ("offline-demo", "planner"), ("ppo", "expert")
    return [save(results / name / "s0", film, who) for film, (name, who) in zip(films, names, strict=True)]


@pytest.fixture(scope="module")
def page(folders, tmp_path_factory):
    """Both side by side."""
    path = tmp_path_factory.mktemp("page") / "episode.html"
    write_viewer(folders, path)
    return path


def long_film(steps=500, places=32, denoising=10, actions=17):
    """A film of an episode that compresses badly: every plan and every distribution is drawn at random."""
    draw = np.random.default_rng(0)
    plans = (steps, denoising, places)
    counts = {"vitals": 4, "inventory": 12}
    return hand_made(
        actions=draw.integers(0, actions, steps), plans=draw.integers(0, actions, (steps, places)),
        positions=np.zeros(steps, int), rewards=np.zeros(steps), lengths=np.array([steps]),
        places=np.column_stack([np.zeros(steps + 1, int), draw.integers(0, 64, (steps + 1, 2))]),
        frames=np.zeros((1, 1, 1, 3), np.uint8), world=draw.integers(0, 17, (1, 64, 64)),
        tiles=draw.integers(0, 255, (17, 16, 16, 3), np.uint8), trace_steps=np.arange(steps),
        trace_locked=np.zeros(steps, int), traces=draw.integers(0, actions + 1, plans),
        top_actions=draw.integers(0, actions, (*plans, 5)), top_probs=draw.random((*plans, 5)) ** 4,
        confidence=draw.random(plans) ** 2, remask_probs=np.full(plans, 0.1),
        expert_probs=draw.random((steps, actions)) ** 8, local_view=np.array([7, 9]),
        sprites=draw.integers(0, 255, (120, 16, 16, 3), np.uint8),
        views=draw.integers(0, 120, (steps + 1, 9, 9)), light=draw.random(steps + 1),
        changes=np.zeros((0, 6), int), action_names=np.array([f"action_{i}" for i in range(actions)]),
        **{name: draw.integers(0, 10, (steps + 1, count)) for name, count in counts.items()},
        **{f"{name}_names": np.array([f"{name}_{i}" for i in range(n)]) for name, n in counts.items()},
    )  # fmt: skip


def unpacked(text):
    """The header of a page, and its arrays by name for every film."""
    header = json.loads(re.search(r'id="header">(.*?)</script>', text, re.S)[1])
    data = gzip.decompress(base64.b64decode(re.search(r'id="data">(.*?)</script>', text, re.S)[1]))

    def array(kind, offset, *shape):
        count = int(np.prod(shape))
        return np.frombuffer(data, f"<{kind}", count, offset).reshape(shape)

    return header, [
        {name: array(*place) for name, place in (film["arrays"] | header["arrays"]).items()}
        for film in header["films"]
    ]


# --- the page as a file ---


def test_a_page_holds_the_films(page, films):
    header, found = unpacked(page.read_text())
    assert [film["label"] for film in header["films"]] == ["Offline BC (demo)", "Expert (ppo)"]
    assert [film["compared"] for film in header["films"]] == [True, False]
    for film, arrays in zip(films, found, strict=True):
        np.testing.assert_array_equal(arrays["actions"], film.actions)
        np.testing.assert_array_equal(arrays["plans"], film.plans)
        np.testing.assert_array_equal(arrays["traces"], film.traces)
        np.testing.assert_array_equal(arrays["sprites"][arrays["views"]], film.sprites[film.views])
        np.testing.assert_allclose(arrays["expertProbs"] / 255, film.expert_probs, atol=0.003)
        np.testing.assert_allclose(arrays["topProbs"] / 255, film.top_probs.astype(float), atol=0.003)
    sprites = found[0]["sprites"]
    assert len(np.unique(sprites, axis=0)) == len(sprites)  # embedded once


def test_a_page_is_the_same_each_time_and_asks_for_nothing(page, folders, tmp_path):
    text = page.read_text()
    write_viewer(folders, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == text
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|<link|<img|@import|url\(|src=", text)


def test_names_are_text_in_the_page(tmp_path):
    text = viewer_page(NASTY, [nasty_film()], [{"label": NASTY, "compared": True}])
    assert "<img" not in text
    assert text.count("</script>") == 3
    header, _ = unpacked(text)
    assert header["films"][0]["label"] == NASTY


def nasty_film():
    names = {
        name: np.array([f"{NASTY}{name.split('_')[0]}{i}" for i in range(length)])
        for name, length in (
            ("action_names", 4),
            ("achievements", 2),
            ("vitals_names", 1),
            ("inventory_names", 2),
        )
    }
    return hand_made(**names)


def test_five_hundred_steps_take_less_than_five_megabytes():
    """As random as can be; a real episode takes a tenth."""
    assert len(viewer_page("long", [long_film()], [{"label": "x", "compared": True}])) < 5_000_000


def test_films_of_other_worlds_do_not_stand_side_by_side(folders, films, tmp_path, capsys):
    other = films[1]._replace(places=films[1].places + 1)
    elsewhere = save(tmp_path / "random" / "s1", other, "random", seed=1)
    message = f"{elsewhere}: shows another world than {folders[0]}; film both with one seed"
    with pytest.raises(UserError, match=re.escape(message)):
        write_viewer([folders[0], elsewhere], tmp_path / "page.html")
    assert main(["view", str(folders[0]), str(elsewhere), "--output", str(tmp_path / "page.html")]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert main(["view", *[str(folders[0])] * 3]) == 2
    assert "view: 3 films: at most two can be shown side by side" in capsys.readouterr().err


def test_the_command_draws_beside_the_first_film(folders, capsys):
    assert main(["view", str(folders[0] / "film.npz"), str(folders[1])]) == 0
    written = folders[0] / "episode.html"
    assert capsys.readouterr().out == f"{written}\n"
    assert len(unpacked(written.read_text())[1]) == 2


def test_the_gallery_links_the_page(folders, tmp_path):
    gallery = tmp_path / "paper" / "gallery.html"
    draw_gallery([str(folders[0] / "episode.html"), str(folders[0] / "film.npz")], gallery.with_suffix(""))
    [link] = re.findall(r'href="([^"]*episode.html)"', gallery.read_text())
    assert (gallery.parent / link).resolve() == (folders[0] / "episode.html").resolve()
    assert "<img" not in gallery.read_text()


def test_writing_has_contrast():
    """At least 4.5 to 1, light and dark (WCAG 2.2, 1.4.3), also on the colours of actions."""

    def contrast(one, other):
        bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
        return (bright + 0.05) / (dim + 0.05)

    style = (WEB / "page.css").read_text()
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in style.split("prefers-color-scheme")
    ]
    assert [len(scheme) for scheme in schemes] == [11, 11]
    for scheme in schemes:
        for ink in ("ink", "soft", "accent", "warn", "good"):
            for paper in ("paper", "panel", "now"):
                assert contrast(scheme[ink], scheme[paper]) >= 4.5, (ink, paper)
        assert contrast(scheme["on-accent"], scheme["accent"]) >= 4.5
        assert contrast(scheme["ink"], scheme["mask"]) >= 4.5
    for colour in TOKENS.values():
        assert max(contrast(colour, "#000000"), contrast(colour, "#ffffff")) >= 4.5


# --- the page in a browser ---


def where(driver):
    """Step and denoising step, by the sliders; the address must say the same."""
    t, k = (int(driver.find_element("id", name).get_attribute("value")) for name in ("step", "denoise"))
    wait(lambda: driver.execute_script("return location.hash") == f"#t={t}&k={k}")
    assert driver.find_element("id", "link").get_attribute("href").endswith(f"#t={t}&k={k}")
    return t, k


def test_every_control_does_what_it_says(driver, page, films):
    film = films[0]
    steps, denoising = max(f.steps for f in films), film.traces.shape[1]
    differs = [int(t) for t in np.flatnonzero(film.actions != film.expert_probs.argmax(axis=1))]
    unlocks = sorted({step for f in films for step, _ in f.unlocked})
    browser.resize(driver, 1600, 3000)
    opened(driver, page)
    assert where(driver) == (0, denoising)

    # Sliders and buttons.
    slide(driver, "step", 3)
    slide(driver, "denoise", 2)
    assert where(driver) == (3, 2)
    click(driver, "forward")
    assert where(driver) == (4, 2)
    click(driver, "back")
    click(driver, "back")
    assert where(driver) == (2, 2)
    assert texts(driver, "#step-text, #denoise-text") == [f"2 of {steps}", f"2 of {denoising}"]

    # What is shown is what was recorded: the plan after two denoising steps.
    plan = int(np.flatnonzero(film.trace_steps <= 2)[-1])
    named = [*(str(name).replace("_", " ") for name in film.action_names), "mask"]
    assert texts(driver, "tbody .chip") == [named[token] for token in film.traces[plan, 1]]
    assert driver.find_element("css selector", "tr[aria-current=step] .chip").text in named
    assert f"▶ {named[film.actions[2]]}" in texts(driver, ".now")[0]

    # Jumps: by button, and forth and back by key.
    slide(driver, "step", 0)
    click(driver, "disagreement")
    assert where(driver)[0] == next(t for t in differs if t > 0)
    press(driver, "d")
    assert where(driver)[0] == [t for t in differs if t > 0][1]
    press(driver, "d", shift=True)
    assert where(driver)[0] == next(t for t in differs if t > 0)
    slide(driver, "step", 0)
    click(driver, "achievement")
    assert where(driver)[0] == unlocks[0]
    assert "unlocked: " in " ".join(texts(driver, ".now"))
    press(driver, "a", shift=True)
    assert where(driver)[0] == unlocks[0]  # there is none before
    assert texts(driver, "#end") == ["Death"]
    press(driver, "0", "x")
    assert where(driver)[0] == steps
    assert "died after" in texts(driver, ".now")[0]
    assert texts(driver, "tbody tr") == []

    # Keys.
    driver.execute_script("document.activeElement.blur()")
    press(driver, "0", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, "j", "j", "k")
    assert where(driver) == (1, 1)
    press(driver, Keys.ARROW_RIGHT, shift=True)
    assert where(driver)[0] == min(steps, 11)

    # Playing and denoising, which end by themselves or are stopped.
    slide(driver, "step", 0)
    driver.execute_script("document.getElementById('speed').value = '30'")
    click(driver, "play")
    wait(lambda: texts(driver, "#play") == ["▶ Play"])
    assert where(driver)[0] == steps
    driver.execute_script("document.getElementById('speed').value = '1'")
    press(driver, " ")
    assert texts(driver, "#play") == ["❚❚ Pause"]
    press(driver, " ")
    assert texts(driver, "#play") == ["▶ Play"]
    assert where(driver)[0] < steps
    slide(driver, "step", 1)
    script = (
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'n', bubbles: true}));"
        "return document.getElementById('denoise').value"
    )
    assert driver.execute_script(script) == "0"
    wait(lambda: texts(driver, "#play") == ["▶ Play"])
    assert where(driver) == (1, denoising)

    # An achievement, a row of the denoising, the whole world.
    driver.execute_script("document.querySelector('.achieved button').click()")
    assert where(driver)[0] == film.unlocked[0][0]
    slide(driver, "step", 0)
    canvas = driver.find_element("css selector", ".course canvas")
    height = canvas.size["height"]
    script = (
        "arguments[0].dispatchEvent(new MouseEvent('click', {clientX: 40, clientY: arguments[1]"
        " + arguments[0].getBoundingClientRect().top, bubbles: true}))"
    )
    driver.execute_script(script, canvas, 1.5 * height / (denoising + 1))
    assert where(driver) == (0, 1)
    driver.execute_script("document.querySelector('.whole').click()")
    assert len(driver.find_elements("css selector", ".whole[aria-pressed=true]")) == 1

    # A link is followed, and one that leads nowhere shows what is nearest.
    driver.execute_script("location.hash = '#t=2&k=3'")
    wait(lambda: driver.find_element("id", "step").get_attribute("value") == "2")
    assert where(driver) == (2, 3)
    assert_quiet(driver, page)
    places = {"#t=2&k=1": (2, 1), "#t=9999&k=9999": (steps, denoising), "#t=-1&x": (0, denoising)}
    for place, found in places.items():
        opened(driver, page, place)
        assert where(driver) == found
        assert_quiet(driver, page)


def test_all_of_it_can_be_used_by_keys_alone(driver, page):
    """Each control takes the focus once, in order, and has a name."""
    opened(driver, page)
    names = focused(driver, 40)
    wanted = [
        "Step",
        "Denoising",
        "▶ Play",
        "One step back",
        "One step forward",
        "Denoise",
        "Next achievement",
    ]
    wanted += ["Next disagreement", "Death", "Steps per second", "Link to this step"]
    assert names[: len(wanted)] == wanted
    assert all(names)
    images = driver.find_elements("css selector", "canvas[role=img]")
    assert images
    assert all(image.get_attribute("aria-label") for image in images if image.is_displayed())


def test_names_are_shown_as_text(driver, tmp_path):
    path = tmp_path / "nasty.html"
    record = {"label": NASTY, "compared": True}
    path.write_text(viewer_page(NASTY, [nasty_film()], [record]), encoding="utf-8")
    opened(driver, path, "#t=1&k=3")
    shown = driver.execute_script("return document.body.innerText")
    for part in ("\n", "action1", "achievements1", "vitals0", "inventory1"):
        assert NASTY + part in shown, part
    assert driver.title == NASTY
    assert driver.execute_script("return [document.images.length, window.hit ?? null]") == [0, None]
    assert_quiet(driver, path)


def test_the_world_is_drawn_as_it_was_seen(driver, page, films):
    """Pixel by pixel, darkened by what there is of night; and the map is that of the step."""
    film = films[0]
    opened(driver, page, "#t=2&k=1")
    script = (
        "const c = document.querySelector(arguments[0]); const p = c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data; return [c.width, c.height, Array.from(p)]"
    )
    width, height, data = driver.execute_script(script, ".world")
    drawn = np.array(data).reshape(height, width, 4)[..., :3]
    cells = film.sprites[film.views[2]]
    day = cells.swapaxes(1, 2).reshape(height, width, 3).astype(float)
    inventory = film.local_view[0] * film.sprites.shape[1]
    np.testing.assert_allclose(drawn[inventory:], day[inventory:], atol=1)
    veil = 0.65 * (1 - float(film.light[2]))
    assert veil > 0.1
    seen = (1 - veil) * day[:inventory] + veil * np.array([0, 8, 40])
    np.testing.assert_allclose(drawn[:inventory], seen, atol=3)


@pytest.mark.slow
def test_screenshots_at_three_widths(driver, page, tmp_path):
    """Nothing is wider than the page; the pictures are kept for whoever wants to look."""
    kept = REPOSITORY / "screenshots" if "CI" in os.environ else tmp_path
    kept.mkdir(exist_ok=True)
    for width in (400, 900, 1600):
        browser.resize(driver, width, 3000)
        opened(driver, page, "#t=2&k=3")
        assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert driver.save_screenshot(str(kept / f"viewer-{width}.png"))


@pytest.mark.slow
def test_five_hundred_steps_open_and_play(driver, tmp_path):
    path = tmp_path / "long.html"
    path.write_text(viewer_page("long", [long_film()], [{"label": "x", "compared": True}]), encoding="utf-8")
    opened(driver, path, "#t=500&k=10")
    for t in (0, 250, 499):
        slide(driver, "step", t)
        assert where(driver) == (t, 10)
    assert browser.complaints(driver) == []
