import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { curlLine, gtmLine } from "../../frontend/js/lib/commandline.js";

const PRINT_ARGUMENTS = 'gtm() { printf "%s\\0" "$@"; }; curl() { gtm "$@"; }';
/** @type {import("../../frontend/js/lib/commandline.js").Request} */
const REQUEST = {
  name: "train-resnet",
  gpu_type: "A100",
  num_gpus: 2,
  estimated_hours: 4,
  command: "python train.py --epochs 10",
  data_location: null,
  is_sensitive: false,
  justification: null,
};
const NASTY = ["it's mine", '$HOME "and" `date`', "two\nlines", "a\\b", "!history", "*", "~", "=ls", "کار شبانه", "#x"];

/**
 * What a shell makes of a line: the arguments of its program.
 * @param {string} line
 */
function read(line) {
  const printed = execFileSync("sh", ["-c", `${PRINT_ARGUMENTS}\n${line}`], { encoding: "utf8" });
  return printed.split("\0").slice(0, -1);
}

/** @param {Partial<typeof REQUEST>} change */
function gtm(change) {
  return gtmLine({ ...REQUEST, ...change });
}

test("an ordinary job is an ordinary line", () => {
  assert.equal(gtm({}), "gtm submit --gpus A100:2 --time 4h --name train-resnet -- python train.py --epochs 10");
});

test("all that was asked for is in it", () => {
  const request = { ...REQUEST, data_location: "/data/brats", is_sensitive: true, justification: "for the paper" };
  assert.equal(
    gtmLine(request),
    "gtm submit --gpus A100:2 --time 4h --name train-resnet --justification 'for the paper' --data /data/brats " +
      "--sensitive -- python train.py --epochs 10",
  );
});

test("a time is in whole units, to the second that the service would count", () => {
  const times = [4, 1.5, 0.1, 0.333, 0.0125, 1.1, 720, 0.00125].map(
    (hours) => read(gtm({ estimated_hours: hours }))[4],
  );
  assert.deepEqual(times, ["4h", "90m", "6m", "1199s", "45s", "66m", "720h", "5s"]);
});

test("a command comes through as it is: its words one by one, or all of it as one where a shell would change it", () => {
  const command = (/** @type {string} */ text) => read(gtm({ command: text })).slice(8);
  assert.deepEqual(command("python train.py"), ["python", "train.py"]);
  assert.deepEqual(command("SEED=1 python -u"), ["SEED=1", "python", "-u"]);
  for (const text of [...NASTY, "cd /x && python y.py", "python  two-spaces", " python", "python\n", "a b # c"]) {
    assert.deepEqual(command(text), [text]);
  }
});

test("text of people comes through as it is", () => {
  for (const text of NASTY) {
    const found = read(gtm({ name: text, data_location: text, justification: text }));
    assert.deepEqual([found[6], found[8], found[10]], [text, text, text]);
  }
});

test("what begins like an option is none", () => {
  assert.deepEqual(read(gtm({ name: "--", data_location: "-x y" })).slice(5, 7), ["--name=--", "--data=-x y"]);
});

test("what is still missing is left out", () => {
  const nothing = { name: " ", num_gpus: Number.NaN, estimated_hours: Number.NaN, command: " \n" };
  assert.equal(gtm(nothing), "gtm submit --gpus A100");
  assert.equal(gtm({ gpu_type: "RTX 4090" }).slice(0, 31), "gtm submit --gpus 'RTX 4090:2' ");
});

test("curl sends the same, and the token is a variable", () => {
  const request = { ...REQUEST, name: "it's mine" };
  const found = read(curlLine(request, "https://gpu.example.org").replace("$GTM_TOKEN", "TOKEN"));
  const { data_location, justification, ...given } = request; // nothing was said of these two
  assert.deepEqual([data_location, justification], [null, null]);
  assert.deepEqual(JSON.parse(found.at(-1) ?? ""), given);
  assert.deepEqual(found.slice(0, 5), [
    "-X",
    "POST",
    "https://gpu.example.org/api/v1/jobs",
    "-H",
    "Authorization: Bearer TOKEN",
  ]);
});
