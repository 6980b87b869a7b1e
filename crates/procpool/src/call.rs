//! How a Rust function is named across processes, and run.
//!
//! A task function is a value of size zero: a `fn` item or a closure that captures nothing. Nothing of it needs to travel
//! but which function it is, so a frame names its monomorphised trampoline by the distance from the start of the
//! program's code. The worker is the same executable (`/proc/self/exe`), refuses any other build, and refuses an
//! address outside its code.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::{Once, OnceLock};

use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};
use crate::os::elf::Image;
use crate::wire::control::PanicReport;
use crate::wire::items::Status;
use crate::wire::value::{self, Output, Source, Spill};

/// What a trampoline works on.
pub(crate) struct Invocation<'a> {
    /// The encoded input.
    pub(crate) input: Source<'a>,
    /// Where the encoded output, or what says why there is none, is appended.
    pub(crate) output: &'a mut Vec<u8>,
    /// Where an output goes instead that is large.
    pub(crate) spill: Option<&'a mut dyn Spill>,
    /// Whether it went there, all of it.
    pub(crate) spilled: bool,
    /// The state of a `map_with`: its encoding, and its value once it was decoded here.
    pub(crate) state: Option<&'a mut SharedState>,
}

impl<'a> Invocation<'a> {
    /// With nothing but an input and a place for the output.
    pub(crate) fn new(input: &'a [u8], output: &'a mut Vec<u8>) -> Self {
        Self { input: Source::slice(input), output, spill: None, spilled: false, state: None }
    }
}

/// The state of a `map_with` in one worker.
#[derive(Default)]
pub(crate) struct SharedState {
    pub(crate) bytes: Vec<u8>,
    pub(crate) value: Option<Box<dyn Any>>,
}

/// Runs one task: decodes the input, calls the function, encodes the output.
pub(crate) type Trampoline = fn(&mut Invocation<'_>) -> Status;

/// What runs tasks in a worker of another language, where functions are not part of the executable.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) trampoline: Trampoline,
    /// What the program that started the worker must give as its own.
    pub(crate) identity: Vec<u8>,
    /// What is left to do before the worker ends.
    pub(crate) finish: fn(),
}

static FOREIGN: OnceLock<Foreign> = OnceLock::new();

/// From now on this process is a worker of another language: whatever it is to run goes to one trampoline.
pub(crate) fn become_foreign(foreign: Foreign) {
    let _ = FOREIGN.set(foreign);
}

/// Does what is left to do when this worker was told to end.
pub(crate) fn finish() {
    if let Some(foreign) = FOREIGN.get() {
        (foreign.finish)();
    }
}

/// A task function's name in this process and across processes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function {
    /// The distance of its trampoline from the start of the program's code; of another language's, a number of its own.
    pub(crate) offset: u64,
    /// Its type name, for people.
    pub(crate) name: &'static str,
}

fn image() -> std::result::Result<&'static Image, String> {
    static IMAGE: OnceLock<std::result::Result<Image, String>> = OnceLock::new();
    IMAGE.get_or_init(Image::of_this_process).as_ref().map_err(Clone::clone)
}

/// Which executable this process runs; a worker must give the same answer.
pub(crate) fn identity() -> Result<Vec<u8>> {
    if let Some(foreign) = FOREIGN.get() {
        return Ok(foreign.identity.clone());
    }
    image().map(|image| image.identity.clone()).map_err(Error::usage)
}

/// Names the trampoline of `F`.
fn name_of<F>(trampoline: Trampoline) -> Result<Function> {
    let name = std::any::type_name::<F>();
    let image = image().map_err(Error::usage)?;
    let address = trampoline as usize;
    if !image.text.contains(&address) {
        return Err(Error::usage(format!(
            "{name} is not part of the main executable, so a worker process cannot find it; \
             call it from a function of the program itself"
        )));
    }
    Ok(Function { offset: (address - image.text.start) as u64, name })
}

/// Finds a trampoline again. `None` for an offset outside this program's code.
pub(crate) fn find(offset: u64) -> Option<Trampoline> {
    if let Some(foreign) = FOREIGN.get() {
        return Some(foreign.trampoline);
    }
    let image = image().ok()?;
    let address = image.text.start.checked_add(usize::try_from(offset).ok()?)?;
    if !image.text.contains(&address) {
        return None;
    }
    // SAFETY: the offset was made by `name_of` in a process that runs the same executable (both ends compare
    // `identity` before anything else is sent), from the address of a function of exactly this type. Only the parent
    // sends offsets; the worker trusts it.
    Some(unsafe { std::mem::transmute::<usize, Trampoline>(address) })
}

/// A value of a type that has only one.
fn conjure<F: Copy>() -> F {
    const {
        assert!(
            size_of::<F>() == 0,
            "a task function must not capture; pass what it needs as input or with `map_with` (function pointers: pass the function itself)"
        );
    }
    // SAFETY: `F` has size zero (asserted when the program is compiled), so there are no bytes to read at the (well-aligned) address, and it is
    // `Copy`, so another one may exist beside the one the caller gave us.
    unsafe { NonNull::<F>::dangling().read() }
}

/// Names `f`, a function of one input.
pub(crate) fn task<F, X, O>(_f: F) -> Result<Function>
where
    F: Fn(X) -> O + Copy + Send + 'static,
    X: DeserializeOwned,
    O: Serialize,
{
    fn trampoline<F, X, O>(invocation: &mut Invocation<'_>) -> Status
    where
        F: Fn(X) -> O + Copy,
        X: DeserializeOwned,
        O: Serialize,
    {
        run(invocation, |input, _| Ok(conjure::<F>()(decode_from::<X>(input)?)))
    }
    // Evaluates the size check also for programs that never run the trampoline.
    let _ = conjure::<F>();
    name_of::<F>(trampoline::<F, X, O>)
}

/// Names `f`, a function of a state that each worker keeps and one input.
pub(crate) fn task_with<F, S, X, O>(_f: F) -> Result<Function>
where
    F: Fn(&mut S, X) -> O + Copy + Send + 'static,
    S: DeserializeOwned + 'static,
    X: DeserializeOwned,
    O: Serialize,
{
    fn trampoline<F, S, X, O>(invocation: &mut Invocation<'_>) -> Status
    where
        F: Fn(&mut S, X) -> O + Copy,
        S: DeserializeOwned + 'static,
        X: DeserializeOwned,
        O: Serialize,
    {
        run(invocation, |input, state| {
            let shared = state.as_deref_mut().ok_or("its state did not arrive")?;
            if shared.value.is_none() {
                shared.value = Some(Box::new(decode::<S>(&shared.bytes)?));
            }
            let state = shared.value.as_mut().and_then(|value| value.downcast_mut::<S>());
            Ok(conjure::<F>()(state.ok_or("its state has another type")?, decode_from::<X>(input)?))
        })
    }
    let _ = conjure::<F>();
    name_of::<F>(trampoline::<F, S, X, O>)
}

/// What an initializer may return: nothing, or a `Result` whose error says why the worker cannot start.
pub trait Setup {
    /// The error as text.
    fn into_result(self) -> std::result::Result<(), String>;
}

impl Setup for () {
    fn into_result(self) -> std::result::Result<(), String> {
        Ok(())
    }
}

impl<E: std::fmt::Display> Setup for std::result::Result<(), E> {
    fn into_result(self) -> std::result::Result<(), String> {
        self.map_err(|e| e.to_string())
    }
}

/// Names `f`, an initializer; its output is a `Result<(), String>`.
pub(crate) fn setup<F, X, O>(_f: F) -> Result<Function>
where
    F: Fn(X) -> O + Copy + Send + 'static,
    X: DeserializeOwned,
    O: Setup,
{
    fn trampoline<F, X, O>(invocation: &mut Invocation<'_>) -> Status
    where
        F: Fn(X) -> O + Copy,
        X: DeserializeOwned,
        O: Setup,
    {
        run(invocation, |input, _| Ok(conjure::<F>()(decode_from::<X>(input)?).into_result()))
    }
    let _ = conjure::<F>();
    name_of::<F>(trampoline::<F, X, O>)
}

/// How an attempt came out: whether its output spilled, or the status and text of a failure, or its panic.
type Attempt = std::thread::Result<std::result::Result<bool, (Status, String)>>;

/// Runs `body`, and turns whatever comes of it into a status and bytes.
pub(crate) fn run<'a, O: Serialize>(
    invocation: &mut Invocation<'a>,
    body: impl FnOnce(&mut Source<'a>, &mut Option<&'a mut SharedState>) -> std::result::Result<O, String>,
) -> Status {
    let Invocation { input, output, spill, spilled, state } = invocation;
    let start = output.len();
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let value = match body(input, state) {
            Ok(value) => value,
            Err(why) => return Err((Status::DecodeFailed, why)),
        };
        if encode_plain(&value, output) {
            return Ok(false);
        }
        encode_to(&value, Output::with_spill(output, spill.as_deref_mut().map(|spill| spill as _)))
            .map_err(|why| (Status::EncodeFailed, why))
    }));
    conclude(attempt, output, start, spilled)
}

/// Encodes some value.
pub(crate) type Encode<'e> = &'e dyn Fn(Output<'_>) -> std::result::Result<bool, String>;

/// The same for a `body` whose output lives no longer than a call: it calls the last of its arguments with what encodes it.
pub(crate) fn run_replying<'a>(
    invocation: &mut Invocation<'a>,
    body: impl FnOnce(
        &mut Source<'a>,
        &mut Option<&'a mut SharedState>,
        &mut dyn FnMut(Encode<'_>),
    ) -> std::result::Result<(), String>,
) -> Status {
    let Invocation { input, output, spill, spilled, state } = invocation;
    let start = output.len();
    let attempt = catch_unwind(AssertUnwindSafe(|| {
        let mut encoded = None;
        let mut reply = |encode: Encode<'_>| {
            let spill = spill.as_deref_mut().map(|spill| spill as _);
            encoded.get_or_insert_with(|| encode(Output::with_spill(output, spill)));
        };
        body(input, state, &mut reply).map_err(|why| (Status::DecodeFailed, why))?;
        encoded.unwrap_or_else(|| Err("it gave none".into())).map_err(|why| (Status::EncodeFailed, why))
    }));
    conclude(attempt, output, start, spilled)
}

fn conclude(attempt: Attempt, output: &mut Vec<u8>, start: usize, spilled: &mut bool) -> Status {
    *spilled = matches!(attempt, Ok(Ok(true)));
    let (status, bytes) = match attempt {
        Ok(Ok(_)) => return Status::Ok,
        Ok(Err((status, why))) => (status, why.into_bytes()),
        Err(payload) => (Status::Panicked, crate::wire::control::encode(&panic_report(payload))),
    };
    output.truncate(start);
    output.extend_from_slice(&bytes);
    status
}

/// Appends the encoding of `value`.
pub(crate) fn encode<T: Serialize>(value: &T, output: &mut Vec<u8>) -> std::result::Result<(), String> {
    encode_to(value, Output::new(output)).map(drop)
}

/// How many bytes a value may have.
fn largest() -> usize {
    static LARGEST: OnceLock<usize> = OnceLock::new();
    *LARGEST.get_or_init(|| usize::try_from(crate::os::memory::half_of_memory()).unwrap_or(usize::MAX))
}

/// Appends the encoding of `value`; returns whether it spilled.
pub(crate) fn encode_to<T: Serialize>(value: &T, output: Output<'_>) -> std::result::Result<bool, String> {
    encode_within(value, output, largest())
}

/// The most bytes of a value that is written the short way.
const PLAIN_MAX: usize = 1024;

/// Appends the encoding of a value that owns nothing and is small: a number, say. `false` if it is another kind of value, or
/// one that says no; then nothing was appended, and it must be written the long way.
#[inline]
pub(crate) fn encode_plain<T: Serialize>(value: &T, output: &mut Vec<u8>) -> bool {
    // What can own nothing attaches nothing and needs no shared memory. A type that does so all the same, or that can fail,
    // does not get through here.
    if const { std::mem::needs_drop::<T>() || size_of::<T>() > 64 } {
        return false;
    }
    let mut output = Output::new(output);
    output.limit(PLAIN_MAX);
    match value::write(value, &mut output) {
        Ok(()) => output.finish().is_some(),
        Err(_) => {
            output.undo();
            crate::attach::take_complaint();
            false
        }
    }
}

/// The same, as long as it takes no more than `most` bytes.
fn encode_within<T: Serialize>(value: &T, mut output: Output<'_>, most: usize) -> std::result::Result<bool, String> {
    output.limit(most);
    match value::write(value, &mut output) {
        Ok(()) => output
            .finish()
            .ok_or_else(|| format!("it takes more memory than there is for it; the most for a value is {most} bytes")),
        Err(error) => {
            output.undo();
            Err(explain("written", &error))
        }
    }
}

/// The value that `bytes` encode, and nothing behind it.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, String> {
    decode_from(&mut Source::slice(bytes))
}

/// The value that `source` gives, and nothing behind it.
pub(crate) fn decode_from<T: DeserializeOwned>(source: &mut Source<'_>) -> std::result::Result<T, String> {
    match value::read(source) {
        Ok(value) if source.left() == 0 => Ok(value),
        Ok(_) => Err(format!("{} does not read back what it wrote", std::any::type_name::<T>())),
        Err(e) => Err(format!("{}: {}", std::any::type_name::<T>(), explain("read", &e))),
    }
}

/// What a type of ours noted is a sentence of its own.
fn explain(what: &str, error: &value::Error) -> String {
    match crate::attach::take_complaint() {
        Some(complaint) => complaint,
        None => format!("its value cannot be {what}: {error}"),
    }
}

thread_local! {
    static LAST_PANIC: RefCell<Option<PanicReport>> = const { RefCell::new(None) };
    static IN_TASK: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Makes panics of tasks on this thread be recorded instead of printed; others go where they always went.
pub(crate) fn record_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !IN_TASK.get() {
                return previous(info);
            }
            let report = PanicReport {
                message: info.payload_as_str().unwrap_or_default().to_string(),
                location: info.location().map(ToString::to_string),
                backtrace: Some(std::backtrace::Backtrace::force_capture().to_string()),
            };
            LAST_PANIC.with(|last| *last.borrow_mut() = Some(report));
        }));
    });
    IN_TASK.set(true);
}

/// What the hook recorded and what the payload says. A payload whose own drop panics is not dropped again.
fn panic_report(payload: Box<dyn Any + Send>) -> PanicReport {
    let mut report = LAST_PANIC.take().unwrap_or_default();
    if report.message.is_empty() {
        report.message = "(the panic carries no text)".to_string();
    }
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(second);
        LAST_PANIC.take();
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within<T: Serialize>(value: &T, output: &mut Vec<u8>, most: usize) -> std::result::Result<bool, String> {
        encode_within(value, Output::new(output), most)
    }

    /// Many bytes that are one, as far as serde is concerned.
    struct Bytes<'a>(&'a [u8]);

    impl Serialize for Bytes<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }

    #[test]
    fn a_value_may_have_as_many_bytes_as_are_allowed_and_not_one_more() {
        // Two bytes say how long it is.
        let mut output = Vec::new();
        within(&Bytes(&[7; 998]), &mut output, 1000).unwrap();
        assert_eq!(output.len(), 1000);
        for value in [&[7; 999][..], &[7; 5000]] {
            let mut output = Vec::new();
            let why = within(&Bytes(value), &mut output, 1000).unwrap_err();
            assert!(why.contains("the most for a value is 1000 bytes"), "{why}");
            assert_eq!(output.capacity(), 0, "memory is left");
            // Byte by byte.
            within(&value, &mut output, 1000).unwrap_err();
            assert_eq!(output.capacity(), 0, "memory is left");
        }
    }

    #[test]
    fn the_short_way_is_for_small_values_that_own_nothing_and_can_be_written() {
        /// Says no.
        struct No;

        impl Serialize for No {
            fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("no"))
            }
        }

        let mut output = vec![1];
        assert!(encode_plain(&(2u8, 3u8), &mut output));
        assert_eq!(output, [1, 2, 3]);
        assert!(!encode_plain(&Bytes(&[7; PLAIN_MAX]), &mut output), "it refers to much");
        assert!(!encode_plain(&String::new(), &mut output), "it may own much");
        assert!(!encode_plain(&[0u64; 9], &mut output), "it is large");
        assert!(!encode_plain(&No, &mut output));
        assert_eq!(output, [1, 2, 3]);
    }

    #[test]
    fn what_was_there_before_a_refused_value_stays() {
        let mut output = vec![1, 2, 3];
        within(&Bytes(&[7; 1000]), &mut output, 1000).unwrap_err();
        assert_eq!(output, [1, 2, 3]);
        within(&Bytes(&[7; 10]), &mut output, 1000).unwrap();
        assert_eq!(output.len(), 14);
    }

    #[test]
    fn room_doubles_but_not_past_what_is_allowed() {
        let mut output = Vec::with_capacity(600);
        within(&vec![7u8; 900], &mut output, 1000).unwrap();
        assert!(output.capacity() < 1100, "{}", output.capacity());
    }
}
