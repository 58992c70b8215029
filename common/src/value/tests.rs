use super::*;
use proptest::prelude::*;

fn column(type_code: u8, meta: u16, unsigned: bool) -> Column {
    Column { name: "c".into(), type_code, meta, nullable: true, unsigned, collation: 0, members: vec![], visible: true }
}

fn text(write: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = vec![];
    write(&mut out);
    String::from_utf8(out).unwrap()
}

fn time(meta: u16, bytes: &[u8]) -> String {
    match decode(&column(19, meta, false), bytes).unwrap() {
        Value::Time(time) => text(|out| time.write(out)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_negative_mediumint_keeps_its_sign() {
    for (bytes, value) in [([0xff, 0xff, 0xff], -1), ([0, 0, 0x80], -8_388_608), ([0xff, 0xff, 0x7f], 8_388_607)] {
        assert_eq!(decode(&column(9, 0, false), &bytes), Ok(Value::Int(value)));
    }
    assert_eq!(decode(&column(9, 0, true), &[0xff, 0xff, 0xff]), Ok(Value::Unsigned(16_777_215)));
}

#[test]
fn integers_of_all_sizes_have_their_extremes() {
    assert_eq!(decode(&column(1, 0, false), &[0x80]), Ok(Value::Int(-128)));
    assert_eq!(decode(&column(2, 0, false), &[0, 0x80]), Ok(Value::Int(-32_768)));
    assert_eq!(decode(&column(3, 0, false), &[0, 0, 0, 0x80]), Ok(Value::Int(i32::MIN.into())));
    assert_eq!(decode(&column(8, 0, false), &i64::MIN.to_le_bytes()), Ok(Value::Int(i64::MIN)));
    assert_eq!(decode(&column(8, 0, true), &u64::MAX.to_le_bytes()), Ok(Value::Unsigned(u64::MAX)));
    assert!(decode(&column(8, 0, true), &[0; 7]).is_err());
}

#[test]
fn a_negative_time_keeps_its_fraction() {
    // The values that go wrong where whole and fraction are read apart: -00:00:00.1, -12:34:56.7, -838:59:58.99.
    assert_eq!(time(1, &[0x7f, 0xff, 0xff, 0xf6]), "-00:00:00.1");
    assert_eq!(time(0, &[0x7f, 0xff, 0xff]), "-00:00:01");
    let packed = |h: i64, m: i64, s: i64, fraction: i64, bits: u32| -> Vec<u8> {
        let value = (0x80_0000i64 << bits) - ((((h << 12) | (m << 6) | s) << bits) + fraction);
        value.to_be_bytes()[8 - 3 - bits as usize / 8..].to_vec()
    };
    assert_eq!(time(1, &packed(12, 34, 56, 70, 8)), "-12:34:56.7");
    assert_eq!(time(2, &packed(838, 59, 58, 99, 8)), "-838:59:58.99");
    assert_eq!(time(4, &packed(0, 0, 0, 1, 16)), "-00:00:00.0001");
    assert_eq!(time(6, &packed(838, 59, 58, 999_999, 24)), "-838:59:58.999999");
    assert_eq!(time(3, &packed(1, 2, 3, 0, 16)), "-01:02:03.000");
    assert_eq!(time(0, &[0x80, 0, 0]), "00:00:00");
}

#[test]
fn times_and_dates_from_before_mysql_5_6_are_read() {
    let old = |type_code, bytes: &[u8]| match decode(&column(type_code, 0, false), bytes).unwrap() {
        Value::Time(v) => text(|out| v.write(out)),
        Value::DateTime(v) => text(|out| v.write(out)),
        Value::Timestamp(v) => text(|out| v.utc().write(out)),
        other => panic!("{other:?}"),
    };
    assert_eq!(old(11, &(-123_456i32).to_le_bytes()[..3]), "-12:34:56");
    assert_eq!(old(12, &20_240_229_235_958u64.to_le_bytes()), "2024-02-29 23:59:58");
    assert_eq!(old(7, &1_709_251_198u32.to_le_bytes()), "2024-02-29 23:59:58");
}

#[test]
fn impossible_and_zero_dates_stay_what_they_are() {
    let date = |y: u32, m: u32, d: u32| {
        let bytes = (y << 9 | m << 5 | d).to_le_bytes();
        match decode(&column(10, 0, false), &bytes[..3]).unwrap() {
            Value::Date(date) => text(|out| date.write(out)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(date(0, 0, 0), "0000-00-00");
    assert_eq!(date(2024, 0, 15), "2024-00-15");
    assert_eq!(date(2023, 2, 31), "2023-02-31");
    assert_eq!(date(9999, 12, 31), "9999-12-31");
    let bytes = [0x80, 0, 0, 0, 0, 0, 0];
    match decode(&column(18, 3, false), &bytes).unwrap() {
        Value::DateTime(v) => assert_eq!(text(|out| v.write(out)), "0000-00-00 00:00:00.000"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn timestamps_are_utc_and_zero_is_the_zero_date() {
    let stamp = |seconds: u32, digits, fraction: &[u8]| {
        let mut bytes = seconds.to_be_bytes().to_vec();
        bytes.extend(fraction);
        match decode(&column(17, digits, false), &bytes).unwrap() {
            Value::Timestamp(v) => text(|out| v.utc().write(out)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(stamp(0, 0, &[]), "0000-00-00 00:00:00");
    assert_eq!(stamp(1, 6, &[0, 0, 9]), "1970-01-01 00:00:01.000009");
    assert_eq!(stamp(951_782_400, 2, &[5]), "2000-02-29 00:00:00.05");
    assert_eq!(stamp(2_147_483_647, 4, &[0x27, 0x0f]), "2038-01-19 03:14:07.9999");
    assert_eq!(stamp(4_294_967_295, 0, &[]), "2106-02-07 06:28:15");
}

#[test]
fn year_zero_is_0000_and_not_1900() {
    assert_eq!(decode(&column(13, 0, true), &[0]), Ok(Value::Year(0)));
    assert_eq!(decode(&column(13, 0, true), &[1]), Ok(Value::Year(1901)));
    assert_eq!(decode(&column(13, 0, true), &[255]), Ok(Value::Year(2155)));
}

#[test]
fn bit_is_big_endian_and_set_is_little_endian() {
    assert_eq!(decode(&column(16, 0x0102, false), &[0x02, 0x01]), Ok(Value::Bit(0x201)));
    assert_eq!(decode(&column(254, 0x02f8, false), &[0x02, 0x01]), Ok(Value::Set(0x102)));
    assert_eq!(decode(&column(254, 0x02f7, false), &[0x2c, 0x01]), Ok(Value::Enum(300)));
    assert_eq!(decode(&column(254, 0x01f7, false), &[0]), Ok(Value::Enum(0)));
}

fn decimal(precision: u8, scale: u8, bytes: &[u8]) -> String {
    Decimal::new(bytes, precision, scale).unwrap().to_string()
}

#[test]
fn decimals_are_exact_text() {
    assert_eq!(decimal(10, 2, &[0x80, 0, 0, 0x01, 0x32]), "1.50");
    assert_eq!(decimal(10, 2, &[0x7f, 0xff, 0xff, 0xfe, 0xcd]), "-1.50");
    assert_eq!(decimal(10, 2, &[0x80, 0, 0, 0, 0]), "0.00");
    assert_eq!(decimal(5, 5, &[0x81, 0x86, 0x9f]), "0.99999");
    assert_eq!(decimal(14, 4, &[0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2]), "1234567890.1234");
    let nines = [0x80 | 99, 0x3b, 0x9a, 0xc9, 0xff];
    assert_eq!(decimal(11, 0, &nines), "99999999999");
}

#[test]
fn compressed_values_come_back() {
    use std::io::Write;
    let plain = b"abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabc";
    let mut zlib = flate2::write::ZlibEncoder::new(vec![0x81, plain.len() as u8], flate2::Compression::default());
    zlib.write_all(plain).unwrap();
    assert_eq!(decompress(&zlib.finish().unwrap()).unwrap(), plain);
    let mut raw = flate2::write::DeflateEncoder::new(vec![0x8a, 0, plain.len() as u8], flate2::Compression::default());
    raw.write_all(plain).unwrap();
    let raw = raw.finish().unwrap();
    assert_eq!(decompress(&raw).unwrap(), plain);
    assert!(decompress(&raw[..raw.len() - 3]).is_err());
    assert_eq!(decompress(b"\0as it is").unwrap(), b"as it is");
    assert_eq!(decompress(b"").unwrap(), b"");
    assert!(decompress(&[0x84, 0xff, 0xff, 0xff, 0xff, 1]).is_err(), "a length that cannot be is not allocated");
}

proptest! {
    #[test]
    fn any_bytes_of_any_type_are_a_value_or_an_error(
        type_code in any::<u8>(), meta in any::<u16>(), unsigned in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let column = column(type_code, meta, unsigned);
        if let Ok(value) = decode(&column, &bytes) {
            let _ = value.to_json(&column);
            if let Value::Timestamp(v) = value { let _ = v.utc(); }
        }
        let _ = decompress(&bytes);
    }
}
