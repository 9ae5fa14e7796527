//! A shared value whose type the compiler does not look into.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Shares a value behind an object, so that whatever holds it is `Send` and `Sync` without a look at the value's type.
///
/// Each future that holds a value is proved to be `Send` by walking through all types that the value is made of. Where
/// these are the hundreds of types of a query plan, which refer to each other in circles, that takes the compiler
/// minutes; here it ends at the object. Cheap to clone.
pub struct Sealed<T: ?Sized>(Arc<dyn Holds<T>>);

trait Holds<T: ?Sized>: Send + Sync {
    fn held(&self) -> &T;
}

struct Held<T>(T);

impl<T: Send + Sync> Holds<T> for Held<T> {
    fn held(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> Sealed<T> {
    /// Seals a value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Held(value)))
    }
}

impl<T: ?Sized> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: ?Sized> Deref for Sealed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.held()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
