// Keeps the page's files, so that it works without a connection. build.sh fills in the list and its digest.
const CACHE = "histoguard-__DIGEST__";
const FILES = __FILES__;

// Browsers share memory among threads only on a page that no other can reach, which these headers ask for.
const ISOLATED = __KINDS__.includes("threads")
  ? { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" } : {};

async function keep(cache, file) {
  const found = await fetch(file);
  if (!found.ok) throw new Error(`${file}: expected a file of the page, found status ${found.status}`);
  const headers = new Headers(found.headers);
  for (const [name, value] of Object.entries(ISOLATED)) headers.set(name, value);
  await cache.put(file, new Response(found.body, { headers }));
}

self.addEventListener("install", (event) => {
  const all = async () => {
    const cache = await caches.open(CACHE);
    await Promise.all(FILES.map((file) => keep(cache, file)));
    await self.skipWaiting();
  };
  event.waitUntil(all());
});

self.addEventListener("activate", (event) => {
  const old = async () => {
    const names = await caches.keys();
    await Promise.all(names.filter((name) => name.startsWith("histoguard-") && name !== CACHE).map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(old());
});

self.addEventListener("fetch", (event) => {
  event.respondWith(caches.match(event.request, { ignoreSearch: true }).then((kept) => kept ?? fetch(event.request)));
});
