//! The pages that SQLite reads from a main file, shown to a check while it does so: pages that it
//! reads anyway need not be read a second time.

use std::cell::Cell;
use std::ffi::c_int;
use std::ffi::c_void;

use rusqlite::Connection;
use rusqlite::ffi;

use super::file_pointer::main_file;

/// Takes the number of a page and its bytes.
type PageVisitor<'s> = dyn FnMut(u32, &[u8]) + 's;

/// Who looks at the pages of which file.
#[derive(Clone, Copy)]
struct PageObserver {
    file: *mut ffi::sqlite3_file,
    page_bytes: i64,
    visit: *mut PageVisitor<'static>,
}

thread_local! {
    /// A connection is used by one thread at a time, which calls its methods and the observer.
    static PAGE_OBSERVER: Cell<Option<PageObserver>> = const { Cell::new(None) };
}

/// Puts back who looked before.
struct Restore(Option<PageObserver>);

impl Drop for Restore {
    fn drop(&mut self) {
        PAGE_OBSERVER.set(self.0);
    }
}

/// Does `work`, and shows every whole page that SQLite reads from the connection's main file
/// meanwhile. Pages from its cache or from the WAL are not shown, others more than once. `visit`
/// must not panic, and must not use the connection.
pub(crate) fn with_page_observer<T>(
    connection: &Connection,
    page_bytes: usize,
    visit: &mut PageVisitor<'_>,
    work: impl FnOnce() -> T,
) -> T {
    let (Ok(file), Ok(page_bytes)) = (main_file(connection), i64::try_from(page_bytes)) else {
        return work();
    };
    // SAFETY: the lifetime alone is changed; the pointer is gone from `PAGE_OBSERVER` before
    // `visit` is, however `work` ends.
    let visit = unsafe { std::mem::transmute::<&mut PageVisitor<'_>, *mut PageVisitor<'static>>(visit) };
    let _restore = Restore(PAGE_OBSERVER.replace(Some(PageObserver { file, page_bytes, visit })));
    work()
}

/// Shows what was just read to who looks at the file.
///
/// # Safety
/// `bytes` bytes at `read` were filled in.
pub(super) unsafe fn show(file: *mut ffi::sqlite3_file, read: *const c_void, bytes: c_int, at: i64) {
    let Ok(Some(observer)) = PAGE_OBSERVER.try_with(Cell::get) else { return };
    let PageObserver { file: observed, page_bytes, visit } = observer;
    if observed != file || i64::from(bytes) != page_bytes || at % page_bytes != 0 {
        return;
    }
    let (Ok(page), Ok(length)) = (u32::try_from(at / page_bytes + 1), usize::try_from(bytes)) else { return };
    // Nothing is shown to an observer that is at work, so that it is borrowed once at a time.
    PAGE_OBSERVER.set(None);
    // SAFETY: `visit` lives while it is in `PAGE_OBSERVER`, and the caller vouches for the bytes.
    unsafe { (*visit)(page, std::slice::from_raw_parts(read.cast::<u8>(), length)) };
    PAGE_OBSERVER.set(Some(observer));
}
