//! How much memory the render of `render.rs` asks for. Apart from it, for counting takes time.

mod order;

use order::Order;

fn main() {
    let order = Order::new();
    let first = order.render();
    let counted = allocation_counter::measure(|| {
        assert_eq!(order.render(), first, "each render gives the same");
    });
    println!(
        "one render: {} bytes out, {} allocations, {} bytes in all, {} at most at once",
        first.len(),
        counted.count_total,
        counted.bytes_total,
        counted.bytes_max
    );
    assert_eq!(counted.bytes_current, 0, "a render keeps nothing");
}
