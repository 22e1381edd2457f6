/** The brain that a server keeps, spoken to over its JSON API. */

const OPEN = "quickstudy.model";
const TOKEN = "quickstudy.token";
const PATIENCE = 3; // seconds

/** base: where the page lies. askToken(wrong): gives a token, where the server wants one. */
export function http(base, askToken) {
  const api = new URL("api/", base);
  let about = null;
  let id = null; // of the open model; null until there is something to keep
  let mine = []; // the models that the last list held
  let token = stored(sessionStorage, TOKEN);
  const pictures = new Map(); // of examples, where they must be fetched with a token

  const path = (...parts) => new URL(parts.map(encodeURIComponent).join("/"), api);
  const model = (...parts) => path("models", id, ...parts);

  async function call(method, url, body = undefined, tries = 3) {
    let answer;
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const json = body !== undefined && !(body instanceof FormData);
    if (json) headers["Content-Type"] = "application/json";
    try {
      answer = await fetch(url, { method, headers, body: json ? JSON.stringify(body) : body, cache: "no-store" });
    } catch (error) {
      throw { code: "offline", message: String(error.message ?? error) };
    }
    if (answer.ok) return answer;
    const wait = Number(answer.headers.get("Retry-After") ?? Infinity);
    if (answer.status === 429 && wait <= PATIENCE && tries > 0) {
      await new Promise((done) => setTimeout(done, 1000 * wait));
      return call(method, url, body, tries - 1);
    }
    if (answer.status === 401) {
      token = await askToken(token !== null);
      store(sessionStorage, TOKEN, token);
      return call(method, url, body);
    }
    const told = await answer.json().catch(() => ({}));
    const { code = `http_${answer.status}`, message = "" } = told.error ?? {};
    throw { code, message, status: answer.status };
  }
  const json = async (...asked) => {
    const answer = await call(...asked);
    return answer.status === 204 ? {} : answer.json();
  };

  /** A state with pictures that the page can show. */
  async function shown(state) {
    for (const example of state.examples) {
      if (!example.picture || example.picture.startsWith("data:")) continue;
      const url = model("examples", example.id, "picture").href; // ours: the page may lie under a path
      example.picture = token ? await fetched(url) : url;
    }
    return state;
  }
  async function fetched(url) {
    if (!pictures.has(url)) pictures.set(url, URL.createObjectURL(await (await call("GET", url)).blob()));
    return pictures.get(url);
  }

  /** Records as a body: files as multipart, all else as JSON. */
  function body(records, labels) {
    if (!(records[0] instanceof Blob)) return labels ? { records, labels } : { records };
    const form = new FormData();
    records.forEach((record, i) =>
      form.append("files", record, record.name ?? `${i}.${(record.type || "/bin").split("/")[1].split("+")[0]}`),
    );
    labels?.forEach((label) => form.append("labels", label));
    return form;
  }

  const list = async () => {
    const found = await json("GET", path("models"));
    mine = found.models ?? found;
    return mine;
  };
  const starts = () => about.starts ?? [about];
  const empty = () => ({ names: [], examples: [], versions: 0 });
  const open = (wanted) => {
    id = wanted;
    store(localStorage, OPEN, wanted ?? "");
  };

  return {
    async about() {
      if (!about) {
        about = await json("GET", path("about"));
        const kept = stored(localStorage, OPEN);
        await list();
        id = (mine.find((one) => one.id === kept) ?? mine[0])?.id ?? null;
      }
      const known = mine.find((one) => one.id === id);
      const from = starts().find((one) => one.name === known?.start) ?? starts()[0];
      return {
        ...about,
        ...from,
        ...(known?.name ? { name: known.name } : {}),
        learns: from.learns !== false && !known?.fixed,
      };
    },
    state: async () => (id === null ? empty() : shown(await json("GET", model()))),
    async add(label, records) {
      if (id === null) await begin();
      return shown(
        await json("POST", model("examples"), body(records, label == null ? null : records.map(() => label))),
      );
    },
    forget: async (example) => shown(await json("DELETE", model("examples", example))),
    async forgetClass(name) {
      if (!/^\.\.?$/.test(name)) return shown(await json("DELETE", model("classes", name)));
      const state = await json("GET", model()); // browsers take . and .. for steps of a path
      for (const one of state.examples.filter(({ label }) => label === name))
        await json("DELETE", model("examples", one.id));
      return this.state();
    },
    rename: async (name, wanted) => shown(await json("POST", model("classes", name), { name: wanted })),
    undo: async () => shown(await json("POST", model("undo"))),
    async ask(records) {
      const said = await json("POST", model("ask"), body(records));
      return said.answers ?? said;
    },
    async download(what) {
      if (id === null) throw { code: "too_few", message: "" };
      const url = model("download");
      url.searchParams.set("to", what);
      return (await call("GET", url)).blob();
    },
    models: {
      current: () => id,
      starts: () =>
        starts()
          .filter((one) => one.learns !== false)
          .map((one) => one.name),
      list,
      open: async (wanted) => open(wanted),
      make: (name) => begin(name),
      async remove(gone) {
        await json("DELETE", path("models", gone));
        await list();
        if (gone === id) open(mine[0]?.id ?? null);
      },
    },
  };

  async function begin(name = undefined) {
    const made = await json("POST", path("models"), { start: name });
    open(made.id);
    await list();
  }
}

function stored(storage, key) {
  try {
    return storage.getItem(key) || null;
  } catch {
    return null;
  }
}

function store(storage, key, value) {
  try {
    storage.setItem(key, value);
  } catch {
    // where nothing may be stored, it lasts as long as the page
  }
}
