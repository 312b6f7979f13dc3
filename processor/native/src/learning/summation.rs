//! Sums as Python gives them: `summed` from left to right, `fsum` exactly and then rounded once.

pub fn summed(numbers: &[f64]) -> f64 {
    let mut total = 0.0;
    for number in numbers {
        total += number;
    }
    total
}

/// math.fsum (J. Shewchuk, 'Adaptive Precision Floating-Point Arithmetic', 1997), of finite numbers whose sum is one.
pub fn fsum(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut partials: Vec<f64> = Vec::with_capacity(8);
    for number in numbers {
        let (mut x, mut kept) = (number, 0);
        for index in 0..partials.len() {
            let mut y = partials[index];
            if x.abs() < y.abs() {
                std::mem::swap(&mut x, &mut y);
            }
            let high = x + y;
            let low = y - (high - x);
            if low != 0.0 {
                partials[kept] = low;
                kept += 1;
            }
            x = high;
        }
        partials.truncate(kept);
        if x != 0.0 {
            partials.push(x);
        }
    }
    let Some(mut high) = partials.pop() else { return 0.0 };
    let mut low = 0.0;
    while let Some(y) = partials.pop() {
        let x = high;
        high = x + y;
        low = y - (high - x);
        if low != 0.0 {
            break;
        }
    }
    // Half an even: where what is left over points the same way, the last rounding went the wrong way.
    let last = partials.last().copied().unwrap_or(0.0);
    if (low < 0.0 && last < 0.0) || (low > 0.0 && last > 0.0) {
        let y = low * 2.0;
        let x = high + y;
        if y == x - high {
            high = x;
        }
    }
    high
}

/// The builtins, which give the first of two that are equal.
pub fn larger(first: f64, second: f64) -> f64 {
    if second > first { second } else { first }
}

pub fn smaller(first: f64, second: f64) -> f64 {
    if second < first { second } else { first }
}

pub fn largest(numbers: &[f64]) -> f64 {
    numbers.iter().skip(1).fold(numbers[0], |most, each| larger(most, *each))
}

pub fn smallest(numbers: &[f64]) -> f64 {
    numbers.iter().skip(1).fold(numbers[0], |least, each| smaller(least, *each))
}
