#!/usr/bin/env python3
"""Opens a report.html in Chromium from a file address and uses it: slider, epsilon, sorting, themes, keyboard, paper.

    pip install playwright          (1.61; the browser itself is the system's Chromium)
    HISTOGUARD_FIGURES=/tmp/page cargo test --features download,onnx --test report_page files_hold
    python tests/page/browser.py /tmp/page/report.html /tmp/page

It fails on a console message, a request beyond the file, or anything that does not work, and leaves screenshots in the
second folder, to be looked at. CHROMIUM names the browser, /usr/bin/chromium by default.
"""

import os
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

PAGE, OUT = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
HIDDEN_OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
COVERED = """() => {
    const title = document.createRange();
    title.selectNodeContents(document.querySelector("h1"));
    const button = document.querySelector("#theme").getBoundingClientRect();
    return [...title.getClientRects()].some(line => line.right > button.left && line.top < button.bottom);
}"""


def first_cells(table):
    return table.locator("tbody").last.locator("tr").evaluate_all("rows => rows.map(row => row.cells[0].textContent)")


def column(table, place):
    script = "(rows, place) => rows.map(row => row.cells[place].textContent)"
    return table.locator("tbody").last.locator("tr").evaluate_all(script, place)


def check_sorting(page):
    table = page.locator("#breakdown table:visible").first
    worst = table.locator("thead th").count() - 1
    shares = [float(text.split()[0]) for text in column(table, worst)]
    assert shares == sorted(shares), "worst slides first"
    assert table.locator("thead th").last.get_attribute("aria-sort") == "ascending"
    before = first_cells(table)
    head = table.locator("thead th").first
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    assert table.locator("th[aria-sort]").count() == 1
    natural = page.evaluate("names => [...names].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))", before)
    assert first_cells(table) == natural, first_cells(table)
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert first_cells(table) == natural[::-1]
    table.locator("thead th").last.locator("button").click()


def check_choices(page):
    selects = page.locator(".pick select")
    if not selects.count():
        return
    for select in selects.all():
        options = select.locator("option:not([disabled])").evaluate_all("all => all.map(option => option.value)")
        select.select_option(options[-1])
    chosen = selects.evaluate_all("all => all.map(select => select.value)")
    shown = page.locator(".choices > details:not([hidden])")
    assert shown.count() == 1 and shown.locator("table").is_visible()
    assert [shown.get_attribute("data-first"), shown.get_attribute("data-second")] == chosen


def check_images(page):
    exhibit = page.locator(".exhibit").first
    if not exhibit.count():
        return
    exhibit.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.exhibit tr[aria-current]')")
    picture = "canvas => canvas.toDataURL()"
    edge = "wipe => getComputedStyle(wipe.querySelector('canvas')).clipPath"
    canvas, slide, wipe = exhibit.locator("canvas"), exhibit.locator(".slide"), exhibit.locator(".wipe")
    slide.focus()
    page.keyboard.press("Home")
    at_start = wipe.evaluate(edge)
    page.keyboard.press("End")
    at_end = wipe.evaluate(edge)
    assert "100%" in at_start and at_end in ("inset(0px)", "inset(0px 0px 0px 0%)"), (at_start, at_end)
    assert slide.get_attribute("aria-valuetext") == "100 % adversarial"
    pictures = {exhibit.locator('.original').get_attribute('src')}
    options = exhibit.locator(".epsilon option").evaluate_all("all => all.map(option => option.value)")
    for option in options:
        exhibit.locator(".epsilon").select_option(option)
        assert exhibit.locator(f"tr[data-version='{option}']").get_attribute("aria-current") == "true"
        assert exhibit.locator(".difference:visible").count() == 1
        pictures.add(canvas.evaluate(picture))
    # Half a gray level can only be drawn as a whole one.
    assert len(pictures) >= len(options), "every epsilon has its own picture"
    page.keyboard.press("Home")
    slide.evaluate("slide => { slide.value = 50; slide.dispatchEvent(new Event('input')); }")


def check_curves(page):
    plot = page.locator(".plot").first
    if not plot.count():
        return
    plot.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    readout = plot.locator(".readout")
    table = page.locator(f"#{plot.get_attribute('data-values')}")
    epsilon = table.locator("thead th").nth(2).text_content()
    assert f"epsilon {epsilon}" in readout.text_content(), readout.text_content()
    first = table.locator("tbody tr").first
    assert first.locator("td").nth(1).text_content() in readout.text_content()
    page.keyboard.press("Escape")
    assert not readout.is_visible()
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    assert readout.is_visible()
    page.screenshot(path=OUT / f"hover-{page.viewport_size['width']}.png")
    page.mouse.move(0, 0)


def check_themes(page):
    color = "getComputedStyle(document.body).backgroundColor"
    seen = {page.evaluate(color)}
    page.locator("#theme").focus()
    page.keyboard.press("Enter")
    seen.add(page.evaluate(color))
    assert len(seen) == 2, seen
    page.screenshot(path=OUT / f"dark-{page.viewport_size['width']}.png", full_page=True)
    page.keyboard.press("Enter")
    assert page.evaluate(color) in seen


def opened(browser, width, **options):
    """A page with the messages and the requests that it made."""
    page = browser.new_context(viewport={"width": width, "height": 900}, **options).new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(PAGE.as_uri())
    return page, said, asked


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in (1280, 400):
            page, said, asked = opened(browser, width, color_scheme="light")
            page.screenshot(path=OUT / f"light-{width}.png", full_page=True)
            assert page.evaluate(HIDDEN_OVERFLOW) <= 0, f"wider than {width}"
            assert not page.evaluate(COVERED), f"the button covers the title at {width}"
            check_sorting(page)
            check_choices(page)
            check_images(page)
            check_curves(page)
            check_themes(page)
            assert said == [], said
            outside = [url for url in asked if not url.startswith("data:") and url != PAGE.as_uri()]
            assert outside == [], outside
        page, said, _ = opened(browser, 1280, color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).color") != "rgb(28, 32, 36)", "dark as the system"
        page.emulate_media(media="print")
        page.pdf(path=OUT / "paper.pdf", format="A4")
        # Without JavaScript everything can still be unfolded and read.
        page, said, _ = opened(browser, 1280, java_script_enabled=False)
        assert said == [] and not page.locator("#theme").is_visible()
        page.screenshot(path=OUT / "plain-1280.png", full_page=True)
        browser.close()
    print(f"{PAGE.stat().st_size // 1000} kB; screenshots in {OUT}")


if __name__ == "__main__":
    main()
