//! Random numbers of a seed: the same on every machine and with every version of every library.

/// xoshiro256** (Blackman and Vigna), seeded by SplitMix64.
#[derive(Clone)]
pub struct Dice {
    state: [u64; 4],
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        let mut mixed = seed;
        let mut next = || {
            mixed = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mixed;
            z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        };
        Dice { state: [next(), next(), next(), next()] }
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c2, d2) = (c ^ a, d ^ b);
        self.state = [a ^ d2, b ^ c2, c2 ^ b << 17, d2.rotate_left(45)];
        result
    }

    /// In (0, 1).
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.unit(), self.unit());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Of shape above zero, scale one (Marsaglia and Tsang 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            return self.gamma(shape + 1.0) * self.unit().powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && self.unit().ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        if mean > 30.0 {
            // A gamma variate splits a large mean in two (Ahrens and Dieter 1974).
            let half = (mean * 7.0 / 8.0).floor();
            let waited = self.gamma(half);
            if waited > mean {
                return self.binomial(half as u64 - 1, mean / waited);
            }
            return half as u64 + self.poisson(mean - waited);
        }
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }

    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if n > 60 {
            // The median of n uniforms splits them (the same authors).
            let middle = n / 2 + 1;
            let (x, y) = (self.gamma(middle as f64), self.gamma((n - middle + 1) as f64));
            let median = x / (x + y);
            return if median >= p {
                self.binomial(middle - 1, p / median)
            } else {
                middle + self.binomial(n - middle, (p - median) / (1.0 - median))
            };
        }
        (0..n).filter(|_| self.unit() < p).count() as u64
    }

    /// A count of this mean whose variance is `dispersion` times as large.
    pub fn dispersed(&mut self, mean: f64, dispersion: f64) -> u64 {
        if dispersion <= 1.0 || mean <= 0.0 {
            return self.poisson(mean);
        }
        let shape = mean / (dispersion - 1.0);
        let rate = self.gamma(shape) * (dispersion - 1.0);
        self.poisson(rate)
    }
}
