//! The cells of poll wake in kernel C: litmus tests that can be pasted into a reply.

use reveille_model::litmus::{Example, FLAWS};

use crate::scenario::Consumer;
use crate::subject::GateName;

/// The litmus test that says of this gate with this consumer what its counterexample says, or that there is none.
/// `None` where it takes more than two threads to say it.
///
/// ```
/// use reveille_checks::{kernel, scenario::Consumer, subject::GateName};
///
/// let test = kernel::test(GateName::Posted, Consumer::EpollLevel).expect("there is one");
/// assert_eq!(test.name, "F3-repoll");
/// ```
pub fn test(gate: GateName, consumer: Consumer) -> Option<&'static Example> {
    use Consumer::*;
    use GateName::*;
    let polls_again = matches!(consumer, EpollLevel | EpollEdge | EpollLevel2p);
    let polls_anew = matches!(consumer, PollOnce | TwoPollers);
    let name = match (gate, consumer) {
        (_, ExclusivePair | PasserBy) => return None,
        (HasSleeper, _) => "sound-has-sleeper",
        (HasSleeperNoBarrier, _) => "has-sleeper-before-6.14",
        (PerEntry, _) => "sound-per-entry",
        (RearmOptIn, Persistent) => "F1-sound-counted",
        (_, Persistent) => "F1-never-rearmed",
        (Posted | ArmedLate, _) if polls_again => "F3-repoll",
        (_, _) if polls_again => "F3-sound-full-barrier",
        (Posted | PostedFenced, _) if polls_anew => "F2-armed-before-enqueue",
        (Posted | PostedFenced, Activation) => "F4-activation",
        (Rearm | RearmByStore | RearmOptIn, Activation) => "F4-sound-armed-after-enqueue",
        (Rearm | RearmByStore | RearmOptIn, _) if polls_anew => "F2-sound-armed-after-enqueue",
        _ => return None,
    };
    FLAWS.iter().find(|test| test.name == name)
}
