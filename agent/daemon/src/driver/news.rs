//! What came of talking to the backend, and who is to know of it.

use std::time::Instant;

use super::Agent;
use crate::{delivery, host_certificates, policy, reporting};

impl Agent {
    pub(super) fn policy_news(&mut self, news: policy::News, now: Instant) {
        match news {
            policy::News::Contact(offset) => {
                self.board.contact(self.clock.now(), offset);
                if let Some(delivery) = &mut self.delivery {
                    delivery.reached(now);
                }
            }
            policy::News::Problem(problem) => {
                let problem = problem.map(|(finding, delay)| (finding, Some(self.in_(delay))));
                self.problems.policy(problem);
            }
            policy::News::Report(report) => {
                self.events.reported(&report);
                self.desk.look();
                if let Some(reporting) = &mut self.reporting {
                    reporting.deliver(&report, now);
                }
            }
        }
    }

    pub(super) fn report_news(&mut self, news: reporting::News, now: Instant) {
        let unknown = matches!(news, reporting::News::HostUnknown(..));
        match news {
            reporting::News::Contact => {
                self.board.contact(self.clock.now(), None);
                self.problems.report(None);
            }
            reporting::News::HostUnknown(finding, delay) | reporting::News::Failed(finding, delay) => {
                let at = self.in_(delay);
                self.problems.report(Some((finding, Some(at))));
            }
            reporting::News::Heard(report) => {
                self.events.reported(&report);
                if let Some(follower) = &mut self.follower {
                    follower.heard(&report, now);
                }
                let host = self.host_info();
                if let Some(certificates) = &mut self.certificates {
                    certificates.set_host(host.clone(), now);
                }
                if let Some(reporting) = &mut self.reporting {
                    reporting.set_host(host, now);
                }
                return;
            }
        }
        if let Some(follower) = &mut self.follower {
            follower.set_estranged(unknown || self.problems.is_estranged());
        }
    }

    pub(super) fn certificate_news(&mut self, news: host_certificates::News, now: Instant) {
        match news {
            host_certificates::News::Arrived => {
                self.board.contact(self.clock.now(), None);
                self.problems.certificates(None);
                if let Some(reporting) = &mut self.reporting {
                    reporting.ask_root(now, self.clock.now());
                }
            }
            host_certificates::News::None => self.problems.certificates(None),
            host_certificates::News::Failed(finding, delay) => {
                let at = self.in_(delay);
                self.problems.certificates(Some((finding, Some(at))));
            }
        }
    }

    pub(super) fn delivery_news(&mut self, news: delivery::News) {
        match news {
            delivery::News::None => {}
            delivery::News::Contact => {
                self.board.contact(self.clock.now(), None);
                self.problems.events(None);
            }
            delivery::News::NotTaken => self.problems.events(None),
            delivery::News::Failed(finding, delay) => {
                let at = self.in_(delay);
                self.problems.events(Some((finding, Some(at))));
            }
        }
    }
}
