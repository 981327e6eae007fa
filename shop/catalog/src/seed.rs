//! The first 10,000 products: three by hand, the others every way to join three words, the same each time.

use sqlx::{QueryBuilder, SqliteConnection};

/// How many products there are.
pub const PRODUCTS: usize = 10_000;

/// A product before it has a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seed {
    id: i64,
    name_en: String,
    name_ko: String,
    krw: i64,
    usd: i64,
    stock: i64,
}

/// Products with a story: one that everybody orders, one that few can pay, one that is nearly gone.
const BY_HAND: [(&str, &str, i64, i64, i64); 3] = [
    ("Book", "책", 15_000, 1_199, 100_000),
    ("Grand Piano", "그랜드 피아노", 90_000_000, 6_599_900, 20),
    ("Signed First Edition", "작가 서명 초판본", 120_000, 8_999, 10),
];

const STYLES: [(&str, &str); 25] = [
    ("Small", "작은"),
    ("Large", "커다란"),
    ("Slim", "얇은"),
    ("Round", "둥근"),
    ("Square", "네모난"),
    ("Folding", "접이식"),
    ("Portable", "휴대용"),
    ("Classic", "클래식"),
    ("Modern", "모던"),
    ("Vintage", "빈티지"),
    ("Simple", "심플한"),
    ("Soft", "부드러운"),
    ("Sturdy", "튼튼한"),
    ("Light", "가벼운"),
    ("White", "하얀"),
    ("Black", "검은"),
    ("Red", "빨간"),
    ("Blue", "파란"),
    ("Green", "초록"),
    ("Yellow", "노란"),
    ("Striped", "줄무늬"),
    ("Checked", "체크무늬"),
    ("Handmade", "수제"),
    ("Everyday", "데일리"),
    ("Premium", "프리미엄"),
];

const MATERIALS: [(&str, &str); 20] = [
    ("Linen", "린넨"),
    ("Cotton", "면"),
    ("Wool", "울"),
    ("Silk", "실크"),
    ("Denim", "데님"),
    ("Leather", "가죽"),
    ("Canvas", "캔버스"),
    ("Felt", "펠트"),
    ("Oak", "참나무"),
    ("Walnut", "호두나무"),
    ("Bamboo", "대나무"),
    ("Rattan", "라탄"),
    ("Steel", "스틸"),
    ("Brass", "황동"),
    ("Copper", "구리"),
    ("Glass", "유리"),
    ("Ceramic", "도자기"),
    ("Marble", "대리석"),
    ("Paper", "한지"),
    ("Cork", "코르크"),
];

/// With the lowest price in won.
const THINGS: [(&str, &str, i64); 20] = [
    ("Bag", "가방", 39_000),
    ("Wallet", "지갑", 29_000),
    ("Hat", "모자", 19_000),
    ("Apron", "앞치마", 22_000),
    ("Cushion", "쿠션", 15_000),
    ("Lamp", "조명", 49_000),
    ("Clock", "시계", 35_000),
    ("Vase", "꽃병", 24_000),
    ("Tray", "쟁반", 18_000),
    ("Bowl", "그릇", 12_000),
    ("Cup", "컵", 9_000),
    ("Teapot", "찻주전자", 42_000),
    ("Notebook", "공책", 6_000),
    ("Pencil Case", "필통", 11_000),
    ("Picture Frame", "액자", 21_000),
    ("Mirror", "거울", 55_000),
    ("Stool", "스툴", 69_000),
    ("Shelf", "선반", 85_000),
    ("Basket", "바구니", 17_000),
    ("Box", "상자", 8_000),
];

/// Fills an empty table; says whether it was empty. Inside the caller's write transaction.
pub async fn fill(tx: &mut SqliteConnection) -> sqlx::Result<bool> {
    let filled: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM products)").fetch_one(&mut *tx).await?;
    if filled {
        return Ok(false);
    }
    let seeds: Vec<Seed> = products().collect();
    for chunk in seeds.chunks(1_000) {
        let mut sql = QueryBuilder::new("INSERT INTO products (id, name_en, name_ko, krw, usd, stock) ");
        sql.push_values(chunk, |mut row, seed| {
            row.push_bind(seed.id)
                .push_bind(&seed.name_en)
                .push_bind(&seed.name_ko)
                .push_bind(seed.krw)
                .push_bind(seed.usd)
                .push_bind(seed.stock);
        });
        sql.build().execute(&mut *tx).await?;
    }
    Ok(true)
}

/// The products in the order of their ids.
pub(crate) fn products() -> impl Iterator<Item = Seed> {
    let by_hand =
        BY_HAND.into_iter().map(|(en, ko, krw, usd, stock)| (en.into(), ko.into(), krw, usd, stock));
    let ids = 1_i64..;
    ids.zip(by_hand.chain(joined())).take(PRODUCTS).map(|(id, (name_en, name_ko, krw, usd, stock))| Seed {
        id,
        name_en,
        name_ko,
        krw,
        usd,
        stock,
    })
}

/// Every way to join a style, a material and a thing.
fn joined() -> impl Iterator<Item = (String, String, i64, i64, i64)> {
    (0..STYLES.len() * MATERIALS.len() * THINGS.len()).map(|n| {
        let (thing_en, thing_ko, lowest) = THINGS[n % THINGS.len()];
        let (material_en, material_ko) = MATERIALS[n / THINGS.len() % MATERIALS.len()];
        let (style_en, style_ko) = STYLES[n / THINGS.len() / MATERIALS.len()];
        let luck = scatter(n as u64);
        let krw = (lowest + (luck % lowest as u64) as i64) / 100 * 100;
        let stock = 20 + (luck >> 32) as i64 % 181;
        let name = |style, material, thing| format!("{style} {material} {thing}");
        let ko = name(style_ko, material_ko, thing_ko);
        (name(style_en, material_en, thing_en), ko, krw, krw * 100 / 1_350, stock)
    })
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same scattered number for the same input, for ever.
fn scatter(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ten_thousand_products_with_names_and_prices_of_their_own() {
        let all: Vec<Seed> = products().collect();
        assert_eq!(all.len(), PRODUCTS);
        assert_eq!(all.iter().map(|seed| &seed.name_en).collect::<BTreeSet<_>>().len(), PRODUCTS);
        assert_eq!(all.iter().map(|seed| &seed.name_ko).collect::<BTreeSet<_>>().len(), PRODUCTS);
        assert!(all.iter().all(|seed| seed.krw > 0 && seed.usd > 0 && seed.stock > 0));
        assert_eq!(all.iter().filter(|seed| seed.name_en == "Book").count(), 1);
    }

    #[test]
    fn the_same_each_time() {
        let last = products().last().unwrap();
        assert_eq!((last.id, last.name_en.as_str()), (10_000, "Premium Cork Stool"));
        assert_eq!(
            (last.name_ko.as_str(), last.krw, last.usd, last.stock),
            ("프리미엄 코르크 스툴", 130_500, 9_666, 161)
        );
    }
}
