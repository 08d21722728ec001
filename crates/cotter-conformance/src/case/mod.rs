//! The cases, by what they are about.

use std::future::Future;
use std::pin::Pin;

use crate::bench::HarmKind::{Count, Cut, EndSession, LoseAnswers, LoseHints};
use crate::bench::Need::{self, Fifo, Harm, Lease, Permits, Processes, Shared};
use crate::ground::Ground;

mod election;
mod exclusion;
mod honesty;
mod lasting;
mod leaving;
mod losing;
mod modes;
mod names;
mod owner;
mod program;
mod steps;
mod token;
mod waiting;

/// What a case does.
pub type Run = fn(Ground) -> Pin<Box<dyn Future<Output = ()>>>;

/// Something that should be true of a lock.
pub struct Case {
    /// What it is about: the file it stands in.
    pub file: &'static str,
    /// What should be true.
    pub name: &'static str,
    /// What it needs; a store or bench without it is not offered the case.
    pub needs: &'static [Need],
    /// How it is tried.
    pub run: Run,
}

macro_rules! cases {
    ($($file:ident { $($name:ident [$($need:expr),*];)* })*) => {
        /// Every case, in reading order.
        pub const ALL: &[Case] = &[$($(Case {
            file: stringify!($file),
            name: stringify!($name),
            needs: &[$($need),*],
            run: |ground| Box::pin($file::$name(ground)),
        }),*),*];
    };
}

cases! {
    exclusion {
        two_clients_exclude_each_other [];
        two_tasks_of_one_client_exclude_each_other [];
        locks_of_two_names_do_not_touch [];
        sixteen_contenders [];
        sixteen_tasks_of_one_client [];
        across_processes [Processes];
        sixteen_processes [Processes];
        after_a_crash [Processes];
        after_an_eviction [];
        a_frozen_holder_is_not_robbed [Processes];
    }
    token {
        rises_with_every_grant [];
        rises_across_a_dropped_guard [];
        rises_across_eviction [];
        rises_across_expiry [Lease, Harm(Cut)];
        rises_across_the_end_of_a_session [Harm(EndSession)];
        rises_across_the_end_of_every_client [];
        rises_across_a_crash [Processes];
        rises_for_writers_whoever_reads_between [Shared];
        stays_with_its_grant [];
    }
    waiting {
        in_order [Fifo];
        in_order_within_one_client [Fifo];
        in_order_across_processes [Fifo, Processes];
        no_wake_up_is_lost_in_a_thousand_hand_overs [];
        a_limit_of_nothing_does_not_wait [];
        a_limit_is_kept [];
        wake_ups_do_not_extend_a_limit [Fifo];
        a_waiter_outlives_its_lease [Lease];
        lost_hints_cost_time_and_nothing_else [Lease, Harm(LoseHints)];
        a_waiter_whose_session_ends_stands_in_line_again [Harm(EndSession)];
        a_claim_on_a_session_that_is_over_is_made_on_a_new_one [Harm(EndSession)];
        a_dead_waiter_is_passed_over [Processes];
        every_second_waiter_dies [Processes, Fifo];
    }
    leaving {
        a_timed_out_wait_leaves_no_trace [];
        a_dropped_wait_leaves_no_trace [];
        an_aborted_task_leaves_no_trace [];
        a_panic_gives_the_lock_back [];
        a_dropped_guard_gives_the_lock_back [];
        a_guard_outlives_the_handles_of_its_client [];
        a_late_grant_is_taken_back [Harm(LoseAnswers)];
        a_claim_whose_request_was_lost_leaves_nothing [Harm(LoseAnswers)];
        a_claim_whose_reply_was_lost_is_taken_back [Harm(LoseAnswers)];
        a_release_whose_request_was_lost_is_tried_again [Harm(LoseAnswers)];
        a_release_whose_reply_was_lost_is_tried_again [Harm(LoseAnswers)];
        a_late_release_touches_no_later_grant [];
        several_locks_come_all_or_none [];
        shutdown_tells_holders_and_gives_back [];
        shutdown_refuses_those_who_wait_and_those_who_come [];
    }
    steps {
        acquire_of_a_free_lock_dropped_at_every_step [];
        acquire_of_a_held_lock_dropped_at_every_step [];
        try_acquire_dropped_at_every_step [];
        acquire_with_a_limit_dropped_at_every_step [];
        release_dropped_at_every_step [];
        re_entry_dropped_at_every_step [];
        several_locks_dropped_at_every_step [];
        read_dropped_at_every_step [Shared];
        permits_dropped_at_every_step [Permits];
        campaign_dropped_at_every_step [];
        evict_and_line_up_dropped_at_every_step [];
        shutdown_dropped_at_every_step [];
        acquire_dropped_at_every_step_of_every_exchange [Harm(LoseAnswers)];
    }
    lasting {
        held_for_five_leases [Lease];
        a_thousand_holds_are_renewed_together [Lease, Harm(Count)];
        a_slow_renewal_is_in_time [Lease, Harm(LoseAnswers)];
        a_cut_that_heals_in_time_costs_nothing [Lease, Harm(Cut)];
        releasing_while_a_renewal_is_under_way [Lease, Harm(LoseAnswers)];
    }
    losing {
        an_evicted_holder_is_told_by_whom [];
        a_holder_whose_session_ends_is_told [Harm(EndSession)];
        a_holder_who_is_cut_off_stops_before_another_enters [Lease, Harm(Cut)];
        a_holder_who_hears_nothing_stops_before_another_enters [Lease, Harm(Cut)];
        refused_renewals_suspend_and_then_lose [Lease, Harm(LoseAnswers)];
        after_a_pause_the_first_look_knows [Lease];
        work_under_a_lost_lock_is_dropped [];
        work_under_a_lock_that_stands_is_done [];
        release_of_a_lost_lock_says_so [];
        a_loss_is_told_with_its_first_reason_only [];
        held_too_long_is_lost [];
        without_a_heartbeat_it_is_lost [];
    }
    owner {
        re_enters_with_the_same_token [];
        the_last_guard_gives_back [];
        two_owners_exclude_each_other [];
        two_tasks_of_one_owner_share [];
        does_not_re_enter_what_is_lost [];
        a_writer_may_read [Shared];
        a_reader_that_wants_to_write_is_told [Shared];
    }
    modes {
        readers_share_and_writers_do_not [Shared];
        a_reader_waits_behind_a_waiting_writer [Shared, Fifo];
        a_writer_comes_in_although_readers_keep_coming [Shared, Fifo];
        a_lock_and_a_writer_are_the_same [Shared];
        permits_are_counted [Permits];
        a_claim_for_many_is_not_overtaken [Permits, Fifo];
        another_number_of_permits_is_refused [Permits];
        what_can_never_be_granted_is_refused [Permits];
        a_lock_and_a_semaphore_do_not_mix [Permits];
        never_more_than_there_are [Permits];
    }
    names {
        what_is_no_name_is_refused [];
        the_longest_name_is_held_and_no_longer_one [];
        names_that_look_like_paths_are_only_names [];
        names_differ_by_case_and_by_their_last_byte [];
        two_normal_forms_are_one_lock [];
        names_in_use_are_listed [];
    }
    honesty {
        notes_are_kept_up_to_their_length [];
        a_line_up_tells_who_and_what [];
        a_renewal_comes_well_within_the_lease [Lease];
        an_uncontended_lock_costs_the_exchanges_it_says [Harm(Count)];
        a_dead_client_frees_within_the_bound [Lease, Harm(Cut)];
        a_dead_process_frees_within_the_bound [Processes];
        two_never_believe_at_once_whatever_is_cut [Lease, Harm(Cut)];
    }
    election {
        one_leads_and_all_see_its_value [];
        who_resigns_is_followed [];
        an_observer_sees_who_leads [];
    }
    program {
        does_what_the_memory_store_does [Fifo];
        leaves_a_history_that_can_have_happened [];
    }
}
