//! Each judge bites: protocols that are broken on purpose are caught, by the judge that is meant to, within so many seeds.

use crate::world::broken::Broken;
use crate::world::dice::Dice;
use crate::world::faults::Rates;
use crate::world::plan_of_faults::{Fault, Kind, Plan};
use crate::world::run;
use crate::world::scheduler::SECOND;

/// Within so many seeds a broken protocol is caught.
const WITHIN: u64 = 200;

/// The broken protocol is caught by that judge.
#[track_caller]
fn caught(broken: Broken, judge: &str, plan: impl Fn(&mut Dice) -> Plan) {
    let caught = (0..WITHIN).any(|seed| {
        let mut dice = Dice::new(seed);
        let plan = plan(&mut dice);
        let outcome = run::run(dice, &plan, Some(broken));
        outcome.findings.iter().any(|finding| finding.judge == judge)
    });
    assert!(caught, "{broken:?} was not caught by the judge of {judge} within {WITHIN} seeds");
}

/// A small cluster in which such faults strike again and again.
fn striking(dice: &mut Dice, kinds: &[Kind], rates: Rates) -> Plan {
    let faults = (0..8).map(|_| Fault { at: dice.between(10 * SECOND, 110 * SECOND), kind: kinds[dice.index(kinds.len())] });
    let faults = if kinds.is_empty() { Vec::new() } else { faults.collect() };
    Plan { faults, rates, faults_end: 120 * SECOND, end: 330 * SECOND, ..Plan::calm(3, 8) }
}

#[test]
fn without_the_fence_what_an_owner_sent_before_it_was_stopped_is_written_after_his_successor() {
    // The successor has stamped and cannot read yet, when what was held back by the network arrives.
    let plan = |dice: &mut Dice| {
        let cuts = (0..4)
            .map(|round| 15 + 26 * round)
            .flat_map(|at| [(at, Kind::Pause(60 * SECOND)), (at + 5, Kind::SourceAway), (at + 12, Kind::SourceAway)]);
        let faults = cuts.map(|(at, kind)| Fault { at: at * SECOND, kind }).collect();
        Plan { faults, mail_every: SECOND / 4, ..striking(dice, &[], Rates { request_held: 50_000, ..Rates::default() }) }
    };
    caught(Broken::NoFence, "authority", plan);
}

#[test]
fn without_the_gate_an_owner_that_was_cut_off_acts_after_his_time() {
    caught(Broken::NoGate, "gate", |dice| striking(dice, &[Kind::Cut], Rates::default()));
}

#[test]
fn without_the_gate_two_push_for_one_mailbox() {
    caught(Broken::NoGate, "effects", |dice| striking(dice, &[Kind::Pause(60 * SECOND), Kind::Cut], Rates::default()));
}

#[test]
fn a_lease_alone_lets_two_write() {
    caught(Broken::LeaseOnly, "authority", |dice| striking(dice, &[Kind::Cut], Rates::default()));
}

#[test]
fn without_timeline_and_session_one_epoch_has_two_holders() {
    let kinds = [Kind::Promote(true), Kind::KillHalf, Kind::RollingRestart];
    let often = |dice: &mut Dice| {
        let (one, other) = (striking(dice, &kinds, Rates::default()), striking(dice, &kinds, Rates::default()));
        Plan { nodes: 5, faults: [one.faults, other.faults.clone()].concat(), ..other }
    };
    caught(Broken::NoTimelineAndSession, "authority", often);
}

#[test]
fn a_state_committed_ahead_of_its_rows_loses_mail() {
    let rates = Rates { refused: 30_000, ..Rates::default() };
    caught(Broken::SyncStateAhead, "loss", |dice| striking(dice, &[Kind::Kill], rates.clone()));
}

#[test]
fn without_the_sweep_rows_wait_for_ever() {
    caught(Broken::NoSweep, "stranded", |dice| striking(dice, &[Kind::Provider], Rates::default()));
}

#[test]
fn without_the_second_sync_mail_between_adoption_and_stream_waits_for_the_next_mail() {
    let rates = Rates { stream_late: 500_000, ..Rates::default() };
    caught(Broken::NoSecondSync, "progress", |dice| Plan { mail_every: 6 * SECOND, ..striking(dice, &[Kind::Kill], rates.clone()) });
}

#[test]
fn with_a_shared_lock_on_adoption_a_mailbox_is_never_watched() {
    let rates = Rates { race_adoption: 500_000, ..Rates::default() };
    caught(Broken::SharedLockOnAdoption, "loss", |dice| striking(dice, &[Kind::Kill], rates.clone()));
}

#[test]
fn a_sweep_that_asks_for_each_user_is_no_rest() {
    caught(Broken::SweepByMailbox, "rest", |dice| Plan { mail_every: 6 * SECOND, ..striking(dice, &[], Rates::default()) });
}
