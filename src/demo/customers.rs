//! Who a journey belongs to, and what customers do with the shop beyond requests: orders with their worth, and which checkout
//! they are shown. Pure; all of it follows from the journey's identifier, so that nothing here shifts the shop's chance.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::span::Event;

use super::journey::Journey;
use crate::load::wire::attribute::text;

/// Declarations of the shop's KPIs, as a team would write them.
pub const KPIS_YAML: &str = include_str!("kpis.yaml");
/// Customers the shop has.
const CUSTOMERS: u64 = 4_000;
/// Customers of each hundred that see the new checkout.
const NEW_CHECKOUT_PERCENT: u64 = 25;

/// A customer and a visit of the shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Customer {
    number: u64,
    visit: u64,
}

impl Customer {
    /// Whose journey it is.
    pub fn of(journey: &Journey) -> Self {
        Customer { number: journey.trace_id[0] % CUSTOMERS, visit: journey.trace_id[1] % 3 }
    }

    fn user(self) -> String {
        format!("u-{:05}", 10_000 + self.number)
    }

    fn session(self) -> String {
        format!("s-{:05}-{}", 10_000 + self.number, self.visit)
    }

    /// What records about the customer say.
    pub fn attributes(self) -> [KeyValue; 2] {
        [text("user.id", &self.user()), text("session.id", &self.session())]
    }

    /// A customer always sees the same checkout.
    fn sees_new_checkout(self) -> bool {
        self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 0xffff < 0xffff * NEW_CHECKOUT_PERCENT / 100
    }

    /// The evaluation of the toggle `checkout-v2` as an event of the span that asked for it.
    pub fn checkout_toggle(self, time_ns: u64) -> Event {
        let variant = if self.sees_new_checkout() { "on" } else { "off" };
        Event {
            time_unix_nano: time_ns,
            name: "feature_flag.evaluation".to_owned(),
            attributes: vec![
                text("feature_flag.key", "checkout-v2"),
                text("feature_flag.result.variant", variant),
                text("feature_flag.result.reason", "split"),
                text("feature_flag.context.id", &self.user()),
                text("feature_flag.provider.name", "shop-flags"),
            ],
            ..Event::default()
        }
    }

    /// The event of an order, worth between 5 and 180 EUR.
    pub fn order(self, journey: &Journey, time_ns: u64) -> LogRecord {
        let cents = 500 + journey.trace_id[1] / 3 % 17_500;
        let [user, session] = self.attributes();
        let value = AnyValue { value: Some(Value::DoubleValue(cents as f64 / 100.0)) };
        let value = KeyValue { key: "value".to_owned(), value: Some(value), ..KeyValue::default() };
        LogRecord {
            time_unix_nano: time_ns,
            observed_time_unix_nano: time_ns,
            event_name: "order_placed".to_owned(),
            attributes: vec![value, text("unit", "EUR"), user, session],
            ..LogRecord::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_customers_see_the_new_checkout_and_always_the_same_one() {
        let customers: Vec<Customer> = (0..CUSTOMERS).map(|number| Customer { number, visit: 0 }).collect();
        let seeing = customers.iter().filter(|customer| customer.sees_new_checkout()).count();
        assert!((900..1_100).contains(&seeing), "{seeing}");
        let again = Customer { visit: 2, ..customers[7] };
        assert_eq!(again.sees_new_checkout(), customers[7].sees_new_checkout());
    }

    #[test]
    fn the_declarations_of_the_shop_are_valid() {
        let kpis = crate::kpis::parse(KPIS_YAML).expect("valid");
        assert_eq!(kpis.iter().map(|kpi| &*kpi.key).collect::<Vec<_>>(), ["orders", "revenue", "basket"]);
    }
}
