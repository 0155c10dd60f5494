//! How much memory the work of `transformation.rs` asks for. Apart from it, for counting takes
//! time.

mod order;

use order::Order;

fn main() {
    let order = Order::new();
    let first = order.transform();
    let counted = allocation_counter::measure(|| {
        assert_eq!(order.transform(), first, "each time the same");
    });
    println!(
        "one message: {} bytes out, {} allocations, {} bytes in all, {} at most at once",
        first.bytes.len(),
        counted.count_total,
        counted.bytes_total,
        counted.bytes_max
    );
    assert_eq!(counted.bytes_current, 0, "nothing is kept");
}
