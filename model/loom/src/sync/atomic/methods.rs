//! The methods that all atomics have, over [`Word`](super::word::Word): written once, for each type to take in.

/// For an `impl` of a type whose field is a `Word` of this value.
macro_rules! methods {
    ($value:ty) => {
        /// A new one.
        #[track_caller]
        pub const fn new(value: $value) -> Self {
            Self(Word::new(value))
        }

        /// Gives `body` the value to change. A race with another thread's write is reported.
        #[track_caller]
        pub fn with_mut<R>(&mut self, body: impl FnOnce(&mut $value) -> R) -> R {
            self.0.with_mut(body)
        }

        /// Reads the value as if this were no atomic. A race with another thread's write is reported.
        ///
        /// # Safety
        /// No other thread may write meanwhile.
        #[track_caller]
        pub unsafe fn unsync_load(&self) -> $value {
            self.0.read_alone()
        }

        /// The value.
        #[track_caller]
        pub fn into_inner(self) -> $value {
            self.0.read_alone()
        }

        /// Reads the value.
        #[track_caller]
        #[inline]
        pub fn load(&self, order: Ordering) -> $value {
            self.0.load(order)
        }

        /// Writes the value.
        #[track_caller]
        #[inline]
        pub fn store(&self, value: $value, order: Ordering) {
            self.0.store(value, order);
        }

        /// Writes the value and returns the one before.
        #[track_caller]
        #[inline]
        pub fn swap(&self, value: $value, order: Ordering) -> $value {
            self.0.swap(value, order)
        }

        /// Writes `new` if the value is `current`. Returns the one before.
        #[track_caller]
        pub fn compare_and_swap(&self, current: $value, new: $value, order: Ordering) -> $value {
            self.0.compare_and_swap(current, new, order)
        }

        /// Writes `new` if the value is `current`. Returns the one before.
        ///
        /// # Errors
        /// With the value, if it is another.
        #[track_caller]
        #[inline]
        pub fn compare_exchange(
            &self,
            current: $value,
            new: $value,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$value, $value> {
            self.0.compare_exchange(current, new, success, failure)
        }

        /// As `compare_exchange`, but it may fail for no reason, as often as `LOOM_WEAK_FAILURES` allows.
        ///
        /// # Errors
        /// With the value, if it is another, or for no reason.
        #[track_caller]
        pub fn compare_exchange_weak(
            &self,
            current: $value,
            new: $value,
            success: Ordering,
            failure: Ordering,
        ) -> Result<$value, $value> {
            self.0.compare_exchange_weak(current, new, success, failure)
        }

        /// Writes what `update` makes of the value, and returns the value before.
        ///
        /// # Errors
        /// With the value, if `update` does not want it.
        #[track_caller]
        pub fn try_update(
            &self,
            set_order: Ordering,
            fetch_order: Ordering,
            update: impl FnMut($value) -> Option<$value>,
        ) -> Result<$value, $value> {
            self.0.try_update(set_order, fetch_order, update)
        }

        /// The other name of `try_update`.
        ///
        /// # Errors
        /// With the value, if `update` does not want it.
        #[track_caller]
        pub fn fetch_update<F: FnMut($value) -> Option<$value>>(
            &self,
            set_order: Ordering,
            fetch_order: Ordering,
            update: F,
        ) -> Result<$value, $value> {
            self.0.try_update(set_order, fetch_order, update)
        }

        /// Writes what `update` makes of the value, and returns the value before.
        #[track_caller]
        pub fn update<F: FnMut($value) -> $value>(
            &self,
            set_order: Ordering,
            fetch_order: Ordering,
            mut update: F,
        ) -> $value {
            let result = self.0.try_update(set_order, fetch_order, |value| Some(update(value)));
            result.unwrap_or_else(|read| read)
        }
    };
}

pub(super) use methods;
