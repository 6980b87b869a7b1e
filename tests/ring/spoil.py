"""Spoils the ring in one place at a time and shows that a model notices: a proof that cannot fail proves nothing.

Works on a copy under target/spoiled; prints a line per spoiling and fails if one goes unnoticed. Words as arguments choose those
whose description holds them."""

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
    ("beginning is a look and a store", "tasks.rs",
     "            match open.compare_exchange_weak(word, Items { next: next + 1, end }.word(), AcqRel, Relaxed) {\n"
     "                Ok(_) => return true,\n"
     "                Err(seen) => word = seen,\n"
     "            }\n",
     "            open.store(Items { next: next + 1, end }.word(), Release);\n"
     "            word = 0;\n"
     "            return word == 0;\n",
     "an_item_is_either_begun_or_taken_back"),
    ("taking back is a look and a store", "tasks.rs",
     "if open.compare_exchange(word, Items { next, end }.word(), AcqRel, Acquire).is_ok() {",
     "open.store(Items { next, end }.word(), Release);\n            if end < items.1 {",
     "an_item_is_either_begun_or_taken_back"),
    ("what has begun is taken back too", "tasks.rs",
     "let end = keep(next).max(next);", "let end = keep(next);",
     "an_item_is_either_begun_or_taken_back"),
    ("all is taken back, whatever is to be kept", "tasks.rs",
     "let end = keep(next).max(next);", "let end = keep(next).min(next);",
     "what_is_kept_is_begun"),
    ("neither open nor task_tail is a Release", "tasks.rs",
     [("slot.open.store(Items { next: header.first, end: header.end }.word(), Release)",
       "slot.open.store(Items { next: header.first, end: header.end }.word(), Relaxed)"),
      ("control.task_tail.0.store(self.tail, Release)", "control.task_tail.0.store(self.tail, Relaxed)")], None,
     "slots_and_bytes_are_used_again_only_when_passed"),
    ("task_tail goes before the slot is written", "tasks.rs",
     "        let slot = &control.tasks[self.tail as usize % SLOTS];",
     "        control.task_tail.0.store(self.tail.wrapping_add(1), Release);\n"
     "        let slot = &control.tasks[self.tail as usize % SLOTS];",
     "slots_and_bytes_are_used_again_only_when_passed"),
    ("task_head is not a Release", "tasks.rs",
     "self.region.control().task_head.0.store(self.head, Release)",
     "self.region.control().task_head.0.store(self.head, Relaxed)",
     "slots_and_bytes_are_used_again_only_when_passed"),
    ("task_head is not loaded with Acquire", "tasks.rs",
     "task_head.0.load(Acquire)", "task_head.0.load(Relaxed)",
     "slots_and_bytes_are_used_again_only_when_passed"),
    ("the slot of a frame that was taken back is free at once", "tasks.rs",
     "        if self.tail.wrapping_sub(self.head) as usize >= SLOTS {",
     "        let front = Items::of(self.region.control().tasks[self.head as usize % SLOTS].open.load(Acquire));\n"
     "        if self.tail.wrapping_sub(self.head) as usize >= SLOTS && front.next < front.end {",
     "around_the_ring_with_items_taken_back"),
    ("a slot speaks for the frame that was in it before", "tasks.rs",
     "self.tail.wrapping_sub(slot) as usize > SLOTS", "self.tail.wrapping_sub(slot) as usize > 2 * SLOTS",
     "around_the_ring_with_items_taken_back"),
    ("result_tail is not a Release, nor progress", "results.rs",
     [("control.result_tail.0.store(self.tail, Release)", "control.result_tail.0.store(self.tail, Relaxed)"),
      ("self.slot().progress.store(done, Release)", "self.slot().progress.store(done, Relaxed)")], None,
     "published_results_are_whole_around_the_ring"),
    ("result_tail is not a Release", "results.rs",
     "control.result_tail.0.store(self.tail, Release)", "control.result_tail.0.store(self.tail, Relaxed)",
     "published_results_are_whole_around_the_ring"),
    ("result_tail is not loaded with Acquire", "results.rs",
     "control.result_tail.0.load(Acquire)", "control.result_tail.0.load(Relaxed)",
     "published_results_are_whole_around_the_ring"),
    ("result_head is not a Release", "results.rs",
     "control.result_head.0.store(self.head, Release)", "control.result_head.0.store(self.head, Relaxed)",
     "published_results_are_whole_around_the_ring"),
    ("result_head is not loaded with Acquire", "results.rs",
     "result_head.0.load(Acquire)", "result_head.0.load(Relaxed)",
     "published_results_are_whole_around_the_ring"),
    ("result_head goes before the bytes are read", "results.rs",
     "        let Some(mut shown) = self.read()? else {",
     "        control.result_head.0.store(self.head.wrapping_add(1), Release);\n"
     "        let Some(mut shown) = self.read()? else {",
     "published_results_are_whole_around_the_ring"),
    ("progress is not a Release", "results.rs",
     "self.slot().progress.store(done, Release)", "self.slot().progress.store(done, Relaxed)",
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("progress is not loaded with Acquire", "results.rs",
     "let done = Progress::of(slot.progress.load(Acquire));", "let done = Progress::of(slot.progress.load(Relaxed));",
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("progress is stored before the bytes are written", "results.rs",
     "        self.data.write(open.room.offset + open.done.bytes, bytes);\n",
     "        let early = Progress { items: open.done.items + 1, bytes: open.done.bytes + bytes.len() as u32 };\n"
     "        self.region.control().results[self.tail as usize % SLOTS].progress.store(early.word(), Release);\n"
     "        self.data.write(open.room.offset + open.done.bytes, bytes);\n",
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("the length is read again, after the number of items", "results.rs",
     "let len = less(done.bytes, taken.bytes)?;",
     "let len = less(Progress::of(slot.progress.load(Relaxed)).bytes, taken.bytes)?;",
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("the serial is not looked at", "results.rs",
     "        if slot.serial.load(Acquire) != self.head.wrapping_add(1) {\n            return Ok(None);",
     "        if slot.serial.load(Acquire) == u32::MAX {\n            return Ok(None);",
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("the serial is stored before the fields", "results.rs",
     [("        slot.progress.store(0, Relaxed);\n",
       "        slot.serial.store(self.tail.wrapping_add(1), Release);\n        slot.progress.store(0, Relaxed);\n")], None,
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("the serial is not a Release", "results.rs",
     "slot.serial.store(self.tail.wrapping_add(1), Release)", "slot.serial.store(self.tail.wrapping_add(1), Relaxed)",
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("the serial is not loaded with Acquire by whoever reads the frame", "results.rs",
     "        if slot.serial.load(Acquire) != self.head.wrapping_add(1) {\n            return Ok(None);",
     "        if slot.serial.load(Relaxed) != self.head.wrapping_add(1) {\n            return Ok(None);",
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("the serial is not loaded with Acquire by whoever counts", "results.rs",
     "        if slot.serial.load(Acquire) != self.head.wrapping_add(1) {\n            return 0;",
     "        if slot.serial.load(Relaxed) != self.head.wrapping_add(1) {\n            return 0;",
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("opening a frame leaves the old progress", "results.rs",
     "        slot.progress.store(0, Relaxed);\n", "",
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("a frame opened after one in vain shows before its fields are written", "results.rs",
     [("        slot.progress.store(0, Relaxed);\n", "        slot.progress.store(1, Relaxed);\n")], None,
     "a_frame_that_was_opened_in_vain_does_not_show_in_the_next_one"),
    ("a frame in vain is published", "results.rs",
     ".filter(|open| open.done.items > 0)?", "?",
     "a_frame_that_was_opened_in_vain_does_not_show_in_a_published_one"),
    ("what was peeked is shown again", "results.rs",
     "        self.taken.items += items;\n        self.taken.bytes += bytes as u32;\n",
     "        let _ = (items, bytes);\n",
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("what was taken of a frame is taken off the next one too", "results.rs",
     "        self.taken = Progress::default();\n", "",
     "an_open_frame_shows_whole_items_of_the_right_frame"),
    ("an item counts as begun only when the next one does", "tasks.rs",
     [("compare_exchange_weak(word, Items { next: next + 1, end }.word(), AcqRel, Relaxed)",
       "compare_exchange_weak(word, Items { next: next + u32::from(end - next < 3), end }.word(), AcqRel, Relaxed)")],
     None, "a_worker_that_dies_anywhere_leaves_the_truth"),
    ("an item is passed to the frame in two steps, of which the number is the first", "results.rs",
     "        self.slot().progress.store(done, Release);\n",
     "        self.slot().progress.store(done & 0xffff_ffff, Release);\n"
     "        self.slot().progress.store(done, Release);\n",
     "a_worker_that_dies_anywhere_leaves_the_truth"),
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
    lines = (done.stdout + done.stderr).splitlines()
    said = [line for line in lines if "panicked" not in line]
    panics = [words for line, words in zip(lines, lines[1:]) if "panicked" in line]
    # Where a frame or a wake-up is lost, the other thread looks for ever, which "exceeded" loom's limit of steps.
    marks = ("Causality", "assertion", "another", "deadlock", "exceeded")
    words = next((line.strip() for mark in marks for line in said if mark in line), (panics or ["failed"])[0])
    return done.returncode == 0, words


def main() -> None:
    unnoticed = 0
    for what, file, old, new, model in SPOILINGS:
        if not all(word in what for word in sys.argv[1:]):
            continue
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
