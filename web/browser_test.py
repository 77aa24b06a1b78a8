"""The page in a real Chromium, against the same computation outside of the browser.

    web/build.sh
    (cd web && cargo build --release --example native)
    pip install selenium            # and Debian's chromium and chromium-driver
    python web/browser_test.py web/dist --native web/target/release/examples/native --screenshots /tmp/pictures

With `--time CHECKPOINT.pth` it measures instead: forward, FGSM and BIM-10 on a 224x224 image, for each kind of the module:
with vectors and without, and with threads where `web/build.sh --threads` made the page.
"""

import argparse
import base64
import functools
import http.server
import json
import os
import struct
import subprocess
import tempfile
import threading
import zlib
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

GOLDEN = Path(__file__).resolve().parent.parent / "tests/golden/checkpoints"
WAIT = 120


class Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm"}

    def log_message(self, *_):
        pass


def serve(folder):
    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    quiet = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    for flag in f"{quiet} disable-component-update disable-sync window-size=1200,1800".split():
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.set_script_timeout(600)
    return driver


class Page:
    def __init__(self, driver, address, kinds):
        self.driver = driver
        self.address = address
        self.kinds = kinds

    def open(self, search=""):
        self.driver.get(self.address + search)
        # With threads the first visit ends in a second one, for the headers that offline.js adds.
        ready = "return document.body.dataset.ready === 'true'"
        if "threads" in self.kinds:
            ready += " && crossOriginIsolated"
        WebDriverWait(self.driver, WAIT, 0.05, [WebDriverException]).until(lambda _: self.driver.execute_script(ready))
        assert not self.visible("error"), self.text("error")

    def until(self, condition, seconds=WAIT):
        return WebDriverWait(self.driver, seconds, poll_frequency=0.05).until(condition)

    def at(self, name):
        return self.driver.find_element(By.ID, name)

    def text(self, name):
        return self.driver.execute_script("return document.getElementById(arguments[0]).textContent", name)

    def visible(self, name):
        return not self.driver.execute_script("return document.getElementById(arguments[0]).hidden", name)

    def set(self, name, value):
        self.driver.execute_script(
            "const at = document.getElementById(arguments[0]); at.value = arguments[1];"
            "at.dispatchEvent(new Event('change'))", name, value)
        self.idle()

    def idle(self):
        self.until(lambda _: self.at("stop").get_attribute("disabled") == "true")

    def file(self, name, path):
        self.at(name).send_keys(str(path))
        self.idle()

    def attack(self, name, **settings):
        Select(self.at("attack")).select_by_value(name)
        for key, value in settings.items():
            self.set(key, value)
        self.at("start").click()
        self.idle()
        return self.text("verdict")

    def laboratory(self, script, *values, kind=None):
        """What a laboratory of the page's own says: the page shows rounded figures only."""
        # The page's policy forbids code from texts, so the script is a part of what is sent.
        answer = self.driver.execute_async_script(
            """
            const [kind, values, done] = arguments;
            const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
            const base64 = async (part) => {
              const all = new Uint8Array(part);
              let text = "";
              for (let i = 0; i < all.length; i += 32768) text += String.fromCharCode(...all.subarray(i, i + 32768));
              return btoa(text);
            };
            import("./laboratory.js").then(async ({ Laboratory }) => {
              const steps = [];
              const bench = new Laboratory((...step) => steps.push(step), kind);
              done({ value: await (async () => { SCRIPT })() });
            }).catch((error) => done({ error: String(error.message ?? error) }));
            """.replace("SCRIPT", script), kind, list(values))
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]


def encoded(path):
    return base64.b64encode(Path(path).read_bytes()).decode()


def native(binary, checkpoint, image, request, side, *more, level=None):
    environment = {**os.environ, **({"HISTOGUARD_SIMD": level} if level else {})}
    command = [binary, checkpoint, image, json.dumps(request), "--side", str(side), *more]
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


ATTACK = """
await bench.load("net", bytes(values[0]), "imagenet");
await bench.draw(values[1], values[2]);
const { answer, png } = await bench.attack(values[3], values[4], 20);
return { answer, png: await base64(png), steps, threads: (await bench.started).threads };
"""


def request(attack, norm="Linf", epsilon=2, effort=10):
    return {"attack": attack, "norm": norm, "epsilon": epsilon, "effort": effort}


def numbers(page, folder, binary):
    """The same numbers as outside with the portable kernels, which fuse no multiplication with an addition either."""
    network = folder / "drawn-tissue.safetensors"
    attacks = [request("fgsm"), request("pgd"), request("mifgsm", "L2", 0.5), request("apgd", effort=20),
               request("deepfool", "L2", 5, 20), request("fmn", "L0", 200, 50), request("ddn", "L2", 5, 30),
               request("square", effort=100), request("stain", effort=5)]
    for kind in page.kinds:
        for asked in attacks if kind != "plain" else attacks[:2]:
            found = page.laboratory(ATTACK, encoded(network), True, 7, asked, 112, kind=kind)
            assert found["threads"] == (os.cpu_count() if kind == "threads" else 1), found["threads"]
            out = Path(tempfile.mkdtemp()) / "adversarial.png"
            same = native(binary, network, "malignant:7", asked, 112, "--out", out, level="portable")
            fast = native(binary, network, "malignant:7", asked, 112)
            here = found["answer"]
            far = lambda other: max(abs(a - b) for x, y in zip(here["logits"], other["logits"]) for a, b in zip(x, y))
            pixels = "the same" if base64.b64decode(found["png"]) == out.read_bytes() else "another"
            print(f"{kind} {asked['attack']}: logits {far(same):.1e} from portable, {far(fast):.1e} from the "
                  f"native kernels; {pixels} PNG; {here['seconds']:.2f} s, native {fast['seconds']:.2f} s")
            for key in ["success", "survives", "forwards", "gradients", "label", "attack", "budget"]:
                assert here[key] == same[key], (asked, key, here[key], same[key])
            if kind == "plain":
                # burn's sums are in another order: signs of gradients near zero differ, and with them PGD's steps.
                assert far(same) <= (1e-5 if asked["attack"] == "fgsm" else 1e-2), asked
                continue
            # Sums over an image are burn's own, with vectors of other widths; the rest is the very same arithmetic.
            if asked["norm"] == "Linf" and asked["attack"] in ("fgsm", "pgd"):
                assert far(same) == 0 and pixels == "the same", asked
            assert far(same) <= 1e-5, asked
    accuracy = page.laboratory(
        "await bench.load('net', bytes(values[0]), 'imagenet');"
        "const { clean, attacked, html } = await bench.evaluate(values[1], 112, 4); return { clean, attacked, html, steps };",
        encoded(network), request("pgd", epsilon=1))
    outside = native(binary, network, "-", request("pgd", epsilon=1), 112, "--evaluate", "4", level="portable")
    assert [accuracy[key] for key in ("clean", "attacked")] == [outside[key] for key in ("clean", "attacked")]
    assert accuracy["steps"][-1][0] == accuracy["steps"][-1][1] and "Attacked in the browser" in accuracy["html"]
    print(f"evaluation: right {accuracy['clean']['hits']}, under attack {accuracy['attacked']['hits']} of 8, as outside")


def checkpoints(page):
    """Files as people have them, chosen and dropped."""
    for name in ["torchvision.pth", "torchvision_legacy.pth", "torchvision.safetensors", "xrv.pt"]:
        if not (GOLDEN / name).exists():
            continue
        page.set("normalization", "torchxrayvision" if name.startswith("xrv") else "imagenet")
        page.file("network-file", GOLDEN / name)
        assert not page.visible("error"), page.text("error")
        assert page.text("network").startswith(name), page.text("network")
        verdict = page.attack("fgsm", side="64", epsilon="8")
        assert verdict.startswith("FGSM within"), verdict
        print(f"{page.text('network')} {verdict}")
    page.set("normalization", "imagenet")
    # Dropped, not chosen.
    page.driver.execute_script(
        """
        const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
        const files = new DataTransfer();
        files.items.add(new File([bytes], "dropped.safetensors"));
        document.getElementById("network-drop").dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
        """, encoded(GOLDEN / "torchvision.safetensors"))
    page.until(lambda _: page.text("network").startswith("dropped.safetensors"))
    page.idle()


def png(width, height):
    """A PNG that says it has this size, with almost nothing in it."""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def hostile(page, folder):
    """What is no checkpoint and no image is refused by name, and the page goes on."""
    place = Path(tempfile.mkdtemp())
    whole = (GOLDEN / "torchvision.safetensors").read_bytes()
    cases = [
        ("network-file", "text.pth", b"hello", "expected a safetensors file"),
        ("network-file", "empty.pth", b"", "found an empty file"),
        ("network-file", "cut.safetensors", whole[: len(whole) // 2], "bytes of data where the header says"),
        ("network-file", "bomb.safetensors", b"\xff\xff\xff\x7f\0\0\0\0{", "a header of"),
        ("network-file", "model.safetensors.index.json", b'{"weight_map":{}}', "an index of other files"),
        ("image-file", "text.png", b"hello", "expected a whole PNG, JPEG, TIFF or BMP image"),
        ("image-file", "huge.png", png(100_000, 100_000), "expected a whole PNG image"),
        ("image-file", "large.png", png(16_000, 16_000), "bytes to decode"),
        ("image-file", "cut.png", png(1000, 1000), "expected a whole PNG image"),
    ]
    for place_of, name, content, why in cases:
        path = place / name
        path.write_bytes(content)
        page.file(place_of, path)
        assert page.visible("error") and name in page.text("error") and why in page.text("error"), (name, page.text("error"))
        print(f"refused: {page.text('error')}")
    for settings, why in [({"side": "20"}, "expected 29 to 512 pixels, found 20"), ({"side": "5000"}, "found 5000"),
                          ({"side": "112", "epsilon": "-1"}, "budget"), ({"epsilon": "2", "effort": "0"}, "steps: expected")]:
        page.attack("pgd", **settings)
        assert page.visible("error") and why in page.text("error"), page.text("error")
        print(f"refused: {page.text('error')}")
    # What would leave the module broken: the next call finds a new one, with the same network and image.
    said = page.laboratory(
        "await bench.load('net', bytes(values[0]), 'imagenet'); await bench.draw(true, 1);"
        "const before = (await bench.predict(112)).probabilities;"
        "let why = ''; try { await bench.open('x', null); await bench.difference({ valueOf() { throw new Error('broken'); } }); } catch (e) { why = e.message; }"
        "await new Promise((resolve) => setTimeout(resolve, 500));"
        "const after = (await bench.predict(112)).probabilities; return { before, after, why };",
        encoded(folder / "drawn-tissue.safetensors"))
    assert said["before"] == said["after"], said


def stop(page):
    page.open()
    Select(page.at("attack")).select_by_value("square")
    page.driver.execute_script("document.getElementById('effort').value = 20000; document.getElementById('epsilon').value = 0.01")
    page.at("start").click()
    page.until(lambda _: " of 20001" in page.text("progress"))
    page.at("slider").send_keys(Keys.ARROW_RIGHT)
    assert page.at("slider").get_attribute("value") == "51", "the page is alive while the worker computes"
    page.at("stop").click()
    page.until(lambda _: page.text("progress") == "Stopped.")
    page.idle()
    verdict = page.attack("fgsm", epsilon="4")
    assert verdict.startswith("FGSM within"), verdict
    print(f"stopped, then: {verdict}")


def threads(page, folder):
    """Threads change no bit, and a lost one ends nothing but what ran."""
    network = encoded(folder / "drawn-tissue.safetensors")
    for asked in [request("pgd"), request("deepfool", "L2", 5, 20), request("fmn", "L0", 200, 50), request("square", effort=300)]:
        for side in [112, 75]:
            found = [page.laboratory(ATTACK, network, True, 3, asked, side, kind=kind) for kind in ("threads", "simd", "threads")]
            seconds = [answer["answer"].pop("seconds") for answer in found]
            for answer in found:
                # Which of the steps are told depends on the time.
                del answer["steps"], answer["threads"]
            assert found[0] == found[1] == found[2], asked
            print(f"threads {asked['attack']} at {side}: the same in {seconds[0]:.2f} s, alone {seconds[1]:.2f} s")
    said = page.laboratory(
        """
        await bench.started;
        const made = [];
        self.Worker = class extends Worker { constructor(...of) { super(...of); made.push(this); } };
        const { Laboratory } = await import("./laboratory.js");
        let heard = () => {};
        const broken = new Laboratory(() => heard());
        await broken.load("net", bytes(values[0]), "imagenet");
        await broken.draw(true, 1);
        const before = (await broken.predict(112)).probabilities;
        const running = broken.attack(values[1], 112, 20);
        await new Promise((resolve) => { heard = resolve; });
        made[1].dispatchEvent(new MessageEvent("message", { data: { error: "lost" } }));
        const why = await running.catch(({ message }) => message);
        const after = (await broken.predict(112)).probabilities;
        return { before, after, why, threads: (await broken.started).threads, made: made.length };
        """, network, request("square", epsilon=0.01, effort=20000))
    assert said["why"] == "lost" and said["before"] == said["after"], said
    assert said["threads"] == os.cpu_count() and said["made"] == 2 * os.cpu_count(), said
    print("threads: one is lost, and the page goes on with new ones")


def keyboard(page):
    """Every control is reached by the tab key, in the page's order, and works by keys."""
    page.open()
    controls = page.driver.execute_script(
        "return [...document.querySelectorAll('input, select, button, a[href]')].filter((e) => !e.disabled && e.offsetParent).map((e) => e.id)")
    page.driver.execute_script("document.activeElement.blur()")
    reached = []
    for _ in controls:
        webdriver.ActionChains(page.driver).send_keys(Keys.TAB).perform()
        reached.append(page.driver.switch_to.active_element.get_attribute("id"))
    assert reached == controls, (reached, controls)
    unnamed = page.driver.execute_script(
        "return [...document.querySelectorAll('input, select')].filter((e) => !e.labels.length && !e.ariaLabel).map((e) => e.id)")
    assert not unnamed, unnamed
    page.at("start").send_keys(Keys.ENTER)
    page.until(lambda _: page.text("verdict").startswith("PGD"))
    page.idle()
    print(f"keyboard: {len(controls)} controls, {page.text('verdict')}")


def privacy(page):
    """Nothing is asked of another place, and nothing could be sent to one."""
    origins = page.driver.execute_script("return performance.getEntriesByType('resource').map((e) => new URL(e.name).origin)")
    assert set(origins) == {page.address.rstrip("/")}, set(origins)
    blocked = page.driver.execute_async_script(
        "const done = arguments[0]; document.addEventListener('securitypolicyviolation', (e) => done(e.effectiveDirective));"
        "fetch('http://127.0.0.1:9/', { mode: 'no-cors' }).catch(() => {}); setTimeout(() => done(null), 5000)")
    assert blocked == "connect-src", blocked


def offline(page, server):
    page.driver.execute_async_script("const done = arguments[0]; navigator.serviceWorker.ready.then(() => setTimeout(done, 500))")
    server.shutdown()
    server.server_close()
    # What the browser keeps by itself does not count.
    page.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    page.open()
    assert page.attack("fgsm").startswith("FGSM within")
    print("offline: the page opens and attacks after its server is gone")


def pictures(page, folder):
    """Pictures to be looked at, and no width that would have to be scrolled sideways."""
    folder.mkdir(parents=True, exist_ok=True)
    page.open()
    page.attack("pgd", epsilon="2")
    page.at("evaluate").click()
    page.idle()
    for width in [1200, 400]:
        page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600})
        wide, tall = page.driver.execute_script("const e = document.scrollingElement; return [e.scrollWidth, e.scrollHeight]")
        assert wide <= width, (wide, width)
        shot = page.driver.execute_cdp_cmd("Page.captureScreenshot", {
            "captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": width, "height": tall, "scale": 1}})
        (folder / f"page-{width}.png").write_bytes(base64.b64decode(shot["data"]))
    page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    print(f"pictures in {folder}: {page.text('accuracy')}")


TIMES = """
await bench.load("net", bytes(values[0]), "imagenet");
await bench.draw(true, 3);
const median = (all) => all.sort((a, b) => a - b)[Math.floor(all.length / 2)];
const repeated = async (job) => {
  const all = [];
  for (let i = 0; i < values[1]; i++) all.push(await job());
  return median(all);
};
const ask = (attack, effort) => ({ attack, norm: "Linf", epsilon: 2, effort });
// An attack's own time: the page asks the network three times more.
const attacked = async (attack, effort) => (await bench.attack(ask(attack, effort), 224, 20)).answer.seconds;
await bench.predict(224);
return {
  forward: await repeated(async () => {
    const start = performance.now();
    await bench.predict(224);
    return (performance.now() - start) / 1000;
  }),
  fgsm: await repeated(() => attacked("fgsm", 1)),
  // PGD of ten steps that does not stop early.
  bim: await repeated(() => attacked("bim", 10)),
};
"""


def times(page, checkpoint, rounds):
    for kind in page.kinds * 2:
        found = page.laboratory(TIMES, encoded(checkpoint), rounds, kind=kind)
        print(json.dumps({"kind": kind, **{key: round(value, 3) for key, value in found.items()}}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the page that build.sh made")
    parser.add_argument("--native", type=Path, help="the example `native`")
    parser.add_argument("--screenshots", type=Path, default=Path(tempfile.gettempdir()) / "histoguard-page")
    parser.add_argument("--time", type=Path, metavar="CHECKPOINT", help="measure on this DenseNet-121 instead")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    if not (options.folder / "offline.js").exists():
        parser.error(f"{options.folder}: expected the page that web/build.sh makes")
    if not options.time and not options.native:
        parser.error("--native: expected the example `native` for comparison")
    server = serve(options.folder)
    driver = browser()
    try:
        kinds = [kind for kind in ("threads", "simd", "plain") if (options.folder / kind).exists()]
        page = Page(driver, f"http://127.0.0.1:{server.server_port}/", kinds)
        page.open()
        if options.time:
            return times(page, options.time, options.rounds)
        numbers(page, options.folder, options.native)
        pictures(page, options.screenshots)
        keyboard(page)
        checkpoints(page)
        hostile(page, options.folder)
        stop(page)
        if "threads" in kinds:
            threads(page, options.folder)
        page.open("?kind=plain")
        assert "no vectors" in page.text("engine"), page.text("engine")
        assert page.attack("fgsm").startswith("FGSM within")
        privacy(page)
        severe = [entry for entry in driver.get_log("browser")
                  if entry["level"] == "SEVERE" and "127.0.0.1:9" not in entry["message"]]
        assert not severe, severe
        offline(page, server)
        print("all passed")
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
