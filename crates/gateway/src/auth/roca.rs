//! RSA keys of which the private half can be computed, because a widespread library made their primes in a few ways only.
//!
//! Source: Nemec, Sýs, Švenda, Klinec and Matyáš, "The Return of Coppersmith's Attack", CCS 2017, section 3.1
//! (CVE-2017-15361).

/// Small primes by which such a modulus leaves a power of 65537.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// What such primes are made of.
const GENERATOR: u32 = 65_537;

/// Whether a modulus, its first byte the highest, is of such a key. One in a hundred million others looks like one.
pub(super) fn is_weak(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| {
        let rest = modulus.iter().fold(0, |rest, &byte| (rest * 256 + u32::from(byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * GENERATOR % prime));
        powers.take(prime as usize).any(|power| power == rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_of_the_generator_is_found_and_others_are_not() {
        assert!(is_weak(&[1]) && is_weak(&GENERATOR.to_be_bytes()));
        assert!(is_weak(&u64::from(GENERATOR).pow(3).to_be_bytes()));
        assert!(
            !is_weak(&[3])
                && !is_weak(&[0xff; 256])
                && !is_weak(&(u64::from(GENERATOR).pow(3) + 2).to_be_bytes())
        );
    }
}
