"""Spoils the ring in one place at a time and shows that a model notices: a proof that cannot fail proves nothing.

Works on a copy under target/spoiled; prints a line per spoiling and fails if one goes unnoticed."""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPY = ROOT / "target" / "spoiled"
RING = "crates/procpool/src/ring"

# What is spoiled, in which file, from what to what, and the model that must notice.
SPOILINGS = [
    ("claiming is a look and a store", "tasks.rs",
     "slot.state.compare_exchange(READY, CLAIMED, AcqRel, Acquire).is_err()",
     "slot.state.load(Acquire) != READY || { slot.state.store(CLAIMED, Release); false }",
     "a_frame_is_either_claimed_or_revoked"),
    ("revoking is a look and a store", "tasks.rs",
     "state.compare_exchange(READY, REVOKED, AcqRel, Acquire).is_ok()",
     "state.load(Acquire) == READY && { state.store(REVOKED, Release); true }",
     "a_frame_is_either_claimed_or_revoked"),
    ("neither READY nor task_tail is a Release", "tasks.rs",
     [("slot.state.store(READY, Release)", "slot.state.store(READY, Relaxed)"),
      ("control.task_tail.0.store(self.tail, Release)", "control.task_tail.0.store(self.tail, Relaxed)")], None,
     "slots_and_bytes_are_used_again_only_when_passed"),
    ("task_tail goes before the slot is written", "tasks.rs",
     [("        let slot = &control.tasks[self.tail as usize % SLOTS];",
       "        control.task_tail.0.store(self.tail.wrapping_add(1), Release);\n"
       "        let slot = &control.tasks[self.tail as usize % SLOTS];")], None,
     "slots_and_bytes_are_used_again_only_when_passed"),
    ("task_head is not a Release", "tasks.rs",
     "self.region.control().task_head.0.store(self.head, Release)",
     "self.region.control().task_head.0.store(self.head, Relaxed)",
     "slots_and_bytes_are_used_again_only_when_passed"),
    ("task_head is not loaded with Acquire", "tasks.rs",
     "task_head.0.load(Acquire)", "task_head.0.load(Relaxed)",
     "slots_and_bytes_are_used_again_only_when_passed"),
    ("a revoked slot is free at once", "tasks.rs",
     "        if self.tail.wrapping_sub(self.head) as usize >= SLOTS {",
     "        if self.tail.wrapping_sub(self.head) as usize >= SLOTS\n"
     "            && self.region.control().tasks[self.head as usize % SLOTS].state.load(Acquire) != REVOKED {",
     "around_the_ring_with_frames_taken_back"),
    ("result_tail is not a Release", "results.rs",
     "control.result_tail.0.store(self.tail, Release)", "control.result_tail.0.store(self.tail, Relaxed)",
     "published_results_are_whole_around_the_ring"),
    ("result_tail is not loaded with Acquire, nor progress", "results.rs",
     [("control.result_tail.0.load(Acquire)", "control.result_tail.0.load(Relaxed)"),
      ("let progress = slot.progress.load(Acquire)", "let progress = slot.progress.load(Relaxed)")], None,
     "published_results_are_whole_around_the_ring"),
    ("result_head is not a Release", "results.rs",
     "control.result_head.0.store(self.head, Release)", "control.result_head.0.store(self.head, Relaxed)",
     "published_results_are_whole_around_the_ring"),
    ("result_head goes before the bytes are read", "results.rs",
     [("        let open = self.read(self.head)?;\n        self.head = self.head.wrapping_add(1);",
       "        self.head = self.head.wrapping_add(1);"),
      ("        if open.running {", "        let open = self.read(self.head.wrapping_sub(1))?;\n        if open.running {")],
     None, "published_results_are_whole_around_the_ring"),
    ("an item that does not fit is not carried", "results.rs",
     "self.region.control().carrying.0.store(u32::from(carrying), Release)", "let _ = carrying",
     "a_worker_that_dies_after_any_step_leaves_the_truth"),
    ("a begun item is not noted", "results.rs",
     "self.slot().progress.store(2 * open.done + 1, Release)", "self.slot().progress.store(2 * open.done, Release)",
     "a_worker_that_dies_after_any_step_leaves_the_truth"),
    ("opening a frame leaves the old progress", "results.rs",
     "        slot.progress.store(0, Relaxed);\n", "",
     "a_worker_that_dies_after_any_step_leaves_the_truth"),
    ("no fence before the look whether the worker sleeps", "layout.rs",
     "        fence(SeqCst);\n        let word = self.worker_word();", "        let word = self.worker_word();",
     "a_task_wakes_the_worker"),
    ("the same, for a worker that waits for room", "layout.rs",
     "        fence(SeqCst);\n        let word = self.worker_word();", "        let word = self.worker_word();",
     "a_worker_that_waits_for_room_is_woken"),
    ("no fence after the worker says that it sleeps", "layout.rs",
     "        word.store(how, SeqCst);\n        fence(SeqCst);", "        word.store(how, SeqCst);",
     "a_task_wakes_the_worker"),
    ("the worker sleeps without a second look", "layout.rs",
     "        if needed() {", "        let _ = needed;\n        if true {",
     "the_socket_wakes_the_worker_too"),
    ("no fence before the look who listens", "layout.rs",
     "        fence(SeqCst);\n        let word = &self.control().listener.0;",
     "        let word = &self.control().listener.0;",
     "a_result_wakes_who_listens"),
    ("no fence after saying who listens", "layout.rs",
     ".swap(listener as u32, SeqCst);\n        fence(SeqCst);", ".swap(listener as u32, SeqCst);",
     "a_result_wakes_who_listens"),
    ("the one who was seen is rung, not the one whose wish was taken", "layout.rs",
     [("        if word.load(Relaxed) == AWAKE {", "        let seen = word.load(Relaxed);\n        if seen == AWAKE {"),
      ("match word.swap(AWAKE, SeqCst) {", "match word.swap(AWAKE, SeqCst).max(seen) {")], None,
     "a_leader_that_came_in_the_middle_of_a_ring_is_rung"),
]


def copy() -> None:
    shutil.rmtree(COPY, ignore_errors=True)
    # Not with their times: cargo would take a file that was put right again for the spoiled one.
    for folder in (RING, "tests/ring"):
        shutil.copytree(ROOT / folder, COPY / folder, copy_function=shutil.copy)
    manifest = (ROOT / "Cargo.toml").read_text()
    members = manifest[manifest.index("members = ["):]
    members = members[: members.index("]") + 1]
    (COPY / "Cargo.toml").write_text(manifest.replace(members, 'members = ["tests/ring"]'))
    shutil.copy(ROOT / "Cargo.lock", COPY)


def test(model: str) -> tuple[bool, str]:
    environment = dict(os.environ, CARGO_TARGET_DIR=str(ROOT / "target" / "spoiled-build"), RUST_BACKTRACE="0")
    cargo = os.environ.get("CARGO", "cargo")
    build = [cargo, "test", "--quiet", "--no-run", "-p", "procpool-ring"]
    subprocess.run(build, cwd=COPY, env=environment, check=True, stderr=subprocess.DEVNULL)
    run = [cargo, "test", "--quiet", "-p", "procpool-ring", model]
    done = subprocess.run(run, cwd=COPY, env=environment, capture_output=True, text=True, timeout=300)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "panicked" not in line]
    marks = ("deadlock", "Causality", "causality", "assertion", "left", "exceeded")
    words = next((line.strip() for line in said if any(mark in line for mark in marks)), "failed")
    return done.returncode == 0, words


def main() -> None:
    unnoticed = 0
    for what, file, old, new, model in SPOILINGS:
        copy()
        path = COPY / RING / file
        text = path.read_text()
        for before, after in old if isinstance(old, list) else [(old, new)]:
            assert text.count(before) == 1, f"{what}: {before!r} is in {file} {text.count(before)} times"
            text = text.replace(before, after)
        path.write_text(text)
        passed, words = test(model)
        unnoticed += passed
        print(f"{'UNNOTICED' if passed else 'noticed':9}  {what}: {model}: {'' if passed else words[:90]}", flush=True)
    sys.exit(unnoticed != 0)


main()
