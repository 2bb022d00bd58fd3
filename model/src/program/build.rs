//! Building programs.

use super::{
    Action, Expr, Instruction, List, ListAction, ListDeclaration, Object, Observed, Place, Program, Register,
    Sequence, Site, Term, Thread,
};
use crate::memory::{Barrier, LOCATIONS, Order, Value};

/// A program that cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The memory models take at most [`LOCATIONS`]
    #[error("{0} atomic locations; the memory models take at most {LOCATIONS}")]
    Locations(usize),
    /// A thread's code is too long
    #[error("thread `{0}` has more than 65535 instructions")]
    Length(String),
    /// Sets of registers are 32 bits
    #[error("thread `{0}` has more than 32 registers at once")]
    Registers(String),
    /// A shared list without its lock
    #[error("thread `{thread}` uses the list `{list}` without holding its lock")]
    Unguarded {
        /// Who
        thread: String,
        /// Which list
        list: String,
    },
    /// A list holds at most this many entries, each a number in the range
    #[error("the list `{0}` starts with more than {max} entries or with one outside 0..{limit}", max = Sequence::CAPACITY, limit = Sequence::LIMIT)]
    List(String),
    /// `leave` where there is no loop
    #[error("thread `{0}` leaves a loop outside of any")]
    NoLoop(String),
    /// A second turn of one thread
    #[error("thread `{0}` has more than one turn")]
    Turns(String),
    /// Threads that have nothing in common were said to end alike
    #[error(
        "threads {0} and {1} do not end alike: there is no such thread, or it has a turn or registers that somebody looks at"
    )]
    Ends(usize, usize),
    /// Threads with turns are alike
    #[error(
        "threads `{thread}` and `{other}` have turns, so they must be alike, and are not: see `{site}`, or what follows it"
    )]
    Unlike {
        /// Who
        thread: String,
        /// And who else
        other: String,
        /// The last place in the second one's code before which both do the same
        site: Site,
    },
}

/// A program under construction.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    labels: Vec<String>,
    initial: Vec<Value>,
    lists: Vec<ListDeclaration>,
    threads: Vec<Code>,
    /// Locations whose value somebody asks for in the end; nothing stands for all
    observed: Option<u16>,
    twins: Vec<[usize; 2]>,
    error: Option<BuildError>,
}

impl Builder {
    /// No objects, no threads.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new atomic object with its initial value.
    pub fn object(&mut self, label: &str, initial: Value) -> Object {
        self.labels.push(label.to_owned());
        self.initial.push(initial);
        Object { first: self.initial.len() as u8 - 1, length: 1 }
    }

    /// In the end nobody asks for the value of any other object: [`End::value`](crate::search::End::value) of one is 0. Without this, all
    /// are asked for. The fewer there are, the more may be forgotten on the way.
    ///
    /// ```
    /// use reveille_model::memory::Memory::Rc11;
    /// use reveille_model::memory::Order::Relaxed;
    /// use reveille_model::program::{Builder, Code};
    /// use reveille_model::search::{Options, check};
    ///
    /// let mut b = Builder::new();
    /// let (x, y) = (b.object("x", 0), b.object("y", 0));
    /// b.observe_only(&[y]);
    /// let mut p = Code::new("p");
    /// p.store("store x", x, 1, Relaxed);
    /// p.store("store y", y, 1, Relaxed);
    /// b.thread(p);
    /// let mut ends = Vec::new();
    /// check(&b.build()?, Rc11, Options::default(), |end| {
    ///     ends.push((end.value(x), end.value(y)));
    ///     Vec::new()
    /// })?;
    /// assert_eq!(ends, [(0, 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe_only(&mut self, objects: &[Object]) {
        self.observed = Some(objects.iter().fold(0, |all, object| all | object.mask()));
    }

    /// A new array of atomic objects. Its elements are labelled `label 0`, `label 1`, ….
    pub fn array(&mut self, label: &str, initial: &[Value]) -> Object {
        let first = self.initial.len() as u8;
        for (index, value) in initial.iter().enumerate() {
            self.object(&format!("{label} {index}"), *value);
        }
        Object { first, length: initial.len() as u8 }
    }

    /// A new lock, free.
    pub fn lock(&mut self, label: &str) -> Object {
        self.object(label, 0)
    }

    /// A new list that may be touched only while `lock` is held.
    pub fn list(&mut self, label: &str, lock: Object, initial: &[Value]) -> List {
        self.new_list(label, Some(lock), initial)
    }

    /// A new list for one thread's own use, empty.
    pub fn local_list(&mut self, label: &str) -> List {
        self.new_list(label, None, &[])
    }

    fn new_list(&mut self, label: &str, lock: Option<Object>, initial: &[Value]) -> List {
        let mut sequence = Sequence::default();
        for entry in initial {
            if !sequence.push(*entry) {
                self.error.get_or_insert(BuildError::List(label.to_owned()));
            }
        }
        self.lists.push(ListDeclaration { label: label.to_owned(), initial: sequence, lock });
        List(self.lists.len() as u8 - 1)
    }

    /// Adds a thread. Its number is how many were added before.
    pub fn thread(&mut self, code: Code) {
        self.threads.push(code);
    }

    /// These two threads end alike, up to lists of their own: once both have come to the part of their code that is the same to its end, they may
    /// exchange their names, and nobody asks who is who. A search may then leave out one of two executions that differ in nothing else
    /// ([`Options::symmetry`](crate::search::Options::symmetry)).
    pub fn end_alike(&mut self, threads: [usize; 2]) {
        self.twins.push(threads);
    }

    /// The program, if it keeps the rules.
    pub fn build(mut self) -> Result<Program, BuildError> {
        if self.initial.len() > LOCATIONS {
            return Err(BuildError::Locations(self.initial.len()));
        }
        for code in &mut self.threads {
            if let Some(error) = code.error.take() {
                self.error.get_or_insert(error);
            }
            if code.code.len() > usize::from(u16::MAX) {
                self.error.get_or_insert(BuildError::Length(code.name.clone()));
            }
            let unguarded = code.touched.iter().find_map(|(list, held)| {
                let list = &self.lists[list.index()];
                list.lock.is_some_and(|lock| !held.contains(&lock)).then(|| list.label.clone())
            });
            if let Some(list) = unguarded {
                self.error.get_or_insert(BuildError::Unguarded { thread: code.name.clone(), list });
            }
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        let observed = self.observed.unwrap_or(!0);
        let program = Program {
            labels: self.labels,
            initial: self.initial,
            lists: self.lists,
            threads: self.threads.into_iter().map(|code| code.finish(observed)).collect(),
            observed,
            twins: Vec::new(),
        };
        if let Some(unlike) = program.unlike() {
            return Err(unlike);
        }
        let twins =
            self.twins.into_iter().map(|threads| program.ends_alike(threads)).collect::<Result<_, _>>()?;
        Ok(Program { twins, ..program })
    }
}

/// A thread's code under construction.
#[derive(Clone, Debug)]
pub struct Code {
    name: String,
    code: Vec<Instruction>,
    /// Registers in use, and the most there ever were
    registers: (u8, u8),
    /// Registers that somebody looks at when the thread has finished
    observed: u32,
    held: Vec<Object>,
    touched: Vec<(List, Vec<Object>)>,
    /// For each loop around: the jumps that leave it
    leaving: Vec<Vec<usize>>,
    turn: Option<usize>,
    error: Option<BuildError>,
}

impl Code {
    /// An empty thread.
    pub fn new(name: impl Into<String>) -> Self {
        Code {
            name: name.into(),
            code: Vec::new(),
            registers: (0, 0),
            observed: 0,
            held: Vec::new(),
            touched: Vec::new(),
            leaving: Vec::new(),
            turn: None,
            error: None,
        }
    }

    /// A register not in use. It lives as long as the closure in which it is made.
    pub(crate) fn register(&mut self) -> Register {
        let (now, most) = self.registers;
        if now == 32 {
            self.error.get_or_insert(BuildError::Registers(self.name.clone()));
            return Register(0);
        }
        self.registers = (now + 1, most.max(now + 1));
        Register(now)
    }

    /// A new register, 0 at first, whose final value belongs to the outcome of the program. To be made before any code.
    pub fn observed_register(&mut self) -> Register {
        let register = self.register();
        self.observed |= 1 << register.0;
        register
    }

    /// `register := value`
    pub fn set(&mut self, register: Register, value: impl Into<Expr>) {
        self.code.push(Instruction::Set(register, value.into()));
    }

    /// A new register with a value.
    pub fn compute(&mut self, value: impl Into<Expr>) -> Register {
        let register = self.register();
        self.set(register, value);
        register
    }

    fn access(
        &mut self,
        site: impl Into<Site>,
        place: impl Into<Place>,
        action: Action,
        reads: bool,
    ) -> Register {
        let (site, place) = (site.into(), place.into());
        let into = reads.then(|| self.register());
        self.code.push(Instruction::Access { site, place, action, into });
        into.unwrap_or(Register(0))
    }

    /// An atomic load.
    pub fn load(&mut self, site: impl Into<Site>, place: impl Into<Place>, order: Order) -> Register {
        self.access(site, place, Action::Load(order), true)
    }

    /// An atomic store.
    pub fn store(
        &mut self,
        site: impl Into<Site>,
        place: impl Into<Place>,
        value: impl Into<Expr>,
        order: Order,
    ) {
        self.access(site, place, Action::Store(order, value.into()), false);
    }

    /// An atomic exchange; gives the value that was there.
    pub fn swap(
        &mut self,
        site: impl Into<Site>,
        place: impl Into<Place>,
        value: impl Into<Expr>,
        order: Order,
    ) -> Register {
        self.access(site, place, Action::Swap(order, value.into()), true)
    }

    /// An atomic fetch-and-add; gives the value that was there.
    pub fn add(
        &mut self,
        site: impl Into<Site>,
        place: impl Into<Place>,
        value: impl Into<Expr>,
        order: Order,
    ) -> Register {
        self.access(site, place, Action::Add(order, value.into()), true)
    }

    /// A strong compare-exchange; gives the value that was there, so it succeeded if that is `expected`.
    pub fn compare_exchange(
        &mut self,
        site: impl Into<Site>,
        place: impl Into<Place>,
        (expected, new): (impl Into<Expr>, impl Into<Expr>),
        (success, failure): (Order, Order),
    ) -> Register {
        let action = Action::CompareExchange { expected: expected.into(), new: new.into(), success, failure };
        self.access(site, place, action, true)
    }

    /// A fence.
    pub fn fence(&mut self, site: impl Into<Site>, barrier: Barrier) {
        self.code.push(Instruction::Fence { site: site.into(), barrier });
    }

    /// Takes a parker's token, waiting for it.
    pub fn park(&mut self, site: impl Into<Site>, parker: impl Into<Place>) {
        self.access(site, parker, Action::Park, false);
    }

    /// Gives a parker its token.
    pub fn unpark(&mut self, site: impl Into<Site>, parker: impl Into<Place>) {
        self.access(site, parker, Action::Unpark, false);
    }

    /// Runs `body` while the lock is held.
    pub fn locked(
        &mut self,
        (lock_site, unlock_site): (&'static str, &'static str),
        lock: Object,
        body: impl FnOnce(&mut Self),
    ) {
        self.access(lock_site, lock, Action::Lock, false);
        self.held.push(lock);
        self.scope(body);
        self.held.pop();
        self.access(unlock_site, lock, Action::Unlock, false);
    }

    /// The same, and to take this lock for the first time is the thread's *turn*. To declare a turn is to say that all threads with one are
    /// *alike*: if they exchange their names, and all that goes by their names, an execution is an execution still, and as much is
    /// owed in its end. Of executions that differ in nothing else a search looks at the one in which they have their turns in the
    /// order in which they were added to the program ([`Options::symmetry`](crate::search::Options::symmetry)).
    ///
    /// [`Builder::build`] sees whether their codes have the same shape; numbers, and what the other threads do, are the caller's affair.
    pub fn locked_in_turn(
        &mut self,
        sites: (&'static str, &'static str),
        lock: Object,
        body: impl FnOnce(&mut Self),
    ) {
        if self.turn.replace(self.code.len()).is_some() {
            self.error.get_or_insert(BuildError::Turns(self.name.clone()));
        }
        self.locked(sites, lock, body);
    }

    /// Registers made in `body` are given back after it.
    pub fn scope(&mut self, body: impl FnOnce(&mut Self)) {
        let registers = self.registers.0;
        body(self);
        self.registers.0 = registers;
    }

    /// Runs `then` if the condition is not 0.
    pub fn when(&mut self, condition: impl Into<Expr>, then: impl FnOnce(&mut Self)) {
        self.when_else(condition, then, |_| ());
    }

    /// Runs `then` if the condition is not 0, `otherwise` if it is. Of a constant condition only one branch is built.
    pub fn when_else(
        &mut self,
        condition: impl Into<Expr>,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let condition = condition.into();
        if let Expr::Constant(value) = condition {
            return if value != 0 { self.scope(then) } else { self.scope(otherwise) };
        }
        let branch = self.hole();
        self.scope(then);
        let mut target = self.code.len();
        let skip = self.hole();
        self.scope(otherwise);
        if self.code.len() == skip + 1 {
            self.code.pop();
        } else {
            target = skip + 1;
            self.code[skip] = Instruction::Jump(self.code.len());
        }
        self.code[branch] = Instruction::Unless(condition, target);
    }

    /// Runs `then`, or does not: both happen.
    pub fn maybe(&mut self, site: impl Into<Site>, then: impl FnOnce(&mut Self)) {
        let choice = self.hole();
        self.scope(then);
        self.code[choice] = Instruction::Choose { site: site.into(), other: self.code.len() };
    }

    /// Repeats `body` until it [leaves](Code::leave).
    pub fn forever(&mut self, body: impl FnOnce(&mut Self)) {
        let start = self.code.len();
        self.leaving.push(Vec::new());
        self.scope(body);
        self.code.push(Instruction::Jump(start));
        let end = self.code.len();
        for jump in self.leaving.pop().unwrap_or_default() {
            self.code[jump] = Instruction::Jump(end);
        }
    }

    /// Leaves the innermost loop.
    pub fn leave(&mut self) {
        let jump = self.hole();
        match self.leaving.last_mut() {
            Some(leaving) => leaving.push(jump),
            None => {
                self.error.get_or_insert(BuildError::NoLoop(self.name.clone()));
            }
        }
    }

    /// Puts an entry at the end of a list.
    pub fn push(&mut self, list: List, entry: impl Into<Expr>) {
        self.list(list, ListAction::Push(entry.into()), None);
    }

    /// Puts an entry at the front of a list.
    pub fn push_front(&mut self, list: List, entry: impl Into<Expr>) {
        self.list(list, ListAction::PushFront(entry.into()), None);
    }

    /// Takes an entry out of a list; gives 1 if it was there.
    pub fn remove(&mut self, list: List, entry: impl Into<Expr>) -> Register {
        let found = self.register();
        self.list(list, ListAction::Remove(entry.into()), Some(found));
        found
    }

    /// Takes the first entry out of a list; gives -1 if there is none.
    pub fn pop(&mut self, list: List) -> Register {
        let first = self.register();
        self.list(list, ListAction::Get(0.into()), Some(first));
        self.scope(|p| {
            p.remove(list, first);
        });
        first
    }

    /// Is an entry in a list?
    pub fn contains(&mut self, list: List, entry: impl Into<Expr>) -> Register {
        let found = self.register();
        self.list(list, ListAction::Contains(entry.into()), Some(found));
        found
    }

    /// The length of a list.
    pub fn length(&mut self, list: List) -> Register {
        let length = self.register();
        self.list(list, ListAction::Length, Some(length));
        length
    }

    /// Runs `body` for every entry, the first first, with the register that holds it. `body` may take that entry out
    /// of the list and may leave the loop.
    pub fn for_each(&mut self, list: List, body: impl FnOnce(&mut Self, Register)) {
        self.scope(|p| {
            let index = p.compute(0);
            p.forever(|p| {
                let entry = p.register();
                p.list(list, ListAction::Get(index.into()), Some(entry));
                p.when(entry.is(-1), |p| p.leave());
                body(p, entry);
                // If the entry is gone, its successor stands in its place.
                let here = p.register();
                p.list(list, ListAction::Get(index.into()), Some(here));
                p.when(here.is(entry), |p| p.set(index, index.plus(1)));
            });
        });
    }

    /// Runs `body` for every entry, the first first, taking it out of the list.
    pub fn drain(&mut self, list: List, body: impl FnOnce(&mut Self, Register)) {
        self.for_each(list, |p, entry| {
            p.remove(list, entry);
            body(p, entry);
        });
    }

    fn list(&mut self, list: List, action: ListAction, into: Option<Register>) {
        self.touched.push((list, self.held.clone()));
        self.code.push(Instruction::List { list, action, into });
    }

    /// Claims that the condition is not 0; an execution in which it is 0 violates the claim.
    pub fn claim(&mut self, claim: impl Into<Site>, holds: impl Into<Expr>) {
        self.code.push(Instruction::Claim { holds: holds.into(), claim: claim.into() });
    }

    /// An instruction to be filled in later.
    fn hole(&mut self) -> usize {
        self.code.push(Instruction::Jump(0));
        self.code.len() - 1
    }

    fn finish(self, objects: u16) -> Thread {
        let observed = Observed { registers: self.observed, objects };
        Thread::new(self.name, self.code, usize::from(self.registers.1), observed, self.turn)
    }
}
