//! Nearby Search (New), translated to the legacy form. Numbers and strings stay as they were sent.
//!
//! Photos are left out: their references open only with the new interface's photo address, and a
//! reader of the legacy form would take them to the other one. So is the deprecated `icon`.

use super::scrub::Scrub;
use super::{HttpRequest, NoAnswer, Settings};
use crate::print::{Printer, TooDeep};
use crate::{Document, Query, Status};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What is asked for: all that the legacy form has a member for. The header is mandatory, and what it
/// names decides the price of the call.
const FIELD_MASK: &str = "places.attributions,places.businessStatus,places.currentOpeningHours.openNow,\
    places.displayName,places.iconBackgroundColor,places.iconMaskBaseUri,places.id,places.location,\
    places.plusCode,places.priceLevel,places.rating,places.shortFormattedAddress,places.types,\
    places.userRatingCount,places.viewport";

pub(super) fn request(query: &Query, settings: &Settings) -> HttpRequest {
    let body = format!(
        "{{\"maxResultCount\":{},\"locationRestriction\":{{\"circle\":{{\"center\":{{\"latitude\":{},\
         \"longitude\":{}}},\"radius\":{:?}}}}},\"rankPreference\":\"DISTANCE\"}}",
        query.bound_clamped(),
        query.center.lat_deg(),
        query.center.lon_deg(),
        query.radius_m_clamped(),
    );
    HttpRequest {
        method: "POST",
        url: format!("{}/v1/places:searchNearby", settings.base_url.trim_end_matches('/')),
        headers: vec![
            ("Accept", "application/json".to_owned()),
            ("Content-Type", "application/json".to_owned()),
            ("X-Goog-Api-Key", settings.key.reveal().to_owned()),
            ("X-Goog-FieldMask", FIELD_MASK.to_owned()),
        ],
        body: body.into_bytes(),
    }
}

pub(super) fn answer(query: &Query, body: &str, scrub: &Scrub<'_>) -> Result<Document, NoAnswer> {
    let reply: Reply<'_> = serde_json::from_str(body)?;
    if reply.error.is_some() {
        return Err(NoAnswer);
    }
    let places = reply.places.get(..query.bound_clamped()).unwrap_or(&reply.places);
    if places.is_empty() {
        return Ok(Document::empty());
    }
    let mut attributions: Vec<String> = Vec::new();
    for attribution in places.iter().flat_map(|place| &place.attributions) {
        let html = attribution.html(scrub);
        if !attributions.contains(&html) {
            attributions.push(html);
        }
    }
    let mut translation = Translation { printer: Printer::default(), scrub };
    translation.printer.begin_object();
    translation.printer.key("html_attributions");
    translation.printer.strings(attributions.iter().map(String::as_str));
    translation.printer.key("results");
    translation.printer.begin_array();
    for place in places {
        translation.printer.item();
        translation.place(place)?;
    }
    let mut printer = translation.printer;
    printer.end_array();
    printer.key("status");
    printer.string(Status::Ok.as_str());
    printer.end_object();
    Ok(Document::from_parts(printer.finish(), Status::Ok))
}

/// Writes places in the legacy form, with its order of members.
struct Translation<'s> {
    printer: Printer,
    scrub: &'s Scrub<'s>,
}

impl Translation<'_> {
    fn place(&mut self, place: &Place<'_>) -> Result<(), TooDeep> {
        self.printer.begin_object();
        self.member("business_status", place.business_status)?;
        if let Some(location) = &place.location {
            self.printer.key("geometry");
            self.printer.begin_object();
            self.corner("location", location)?;
            if let Some(Viewport { low: Some(low), high: Some(high) }) = &place.viewport {
                self.printer.key("viewport");
                self.printer.begin_object();
                self.corner("northeast", high)?;
                self.corner("southwest", low)?;
                self.printer.end_object();
            }
            self.printer.end_object();
        }
        self.member("icon_background_color", place.icon_background_color)?;
        self.member("icon_mask_base_uri", place.icon_mask_base_uri)?;
        self.member("name", place.display_name.as_ref().and_then(|name| name.text))?;
        if let Some(open_now) = place.current_opening_hours.as_ref().and_then(|h| h.open_now) {
            self.printer.key("opening_hours");
            self.printer.begin_object();
            self.member("open_now", Some(open_now))?;
            self.printer.end_object();
        }
        self.member("place_id", place.id)?;
        if let Some(code) = &place.plus_code {
            self.printer.key("plus_code");
            self.printer.begin_object();
            self.member("compound_code", code.compound_code)?;
            self.member("global_code", code.global_code)?;
            self.printer.end_object();
        }
        if let Some(level) = place.price_level.and_then(price_level) {
            self.printer.key("price_level");
            self.printer.scalar(level);
        }
        self.member("rating", place.rating)?;
        self.member("reference", place.id)?;
        self.printer.key("scope");
        self.printer.string("GOOGLE");
        self.member("types", place.types)?;
        self.member("user_ratings_total", place.user_rating_count)?;
        self.member("vicinity", place.short_formatted_address)?;
        self.printer.end_object();
        Ok(())
    }

    fn corner(&mut self, key: &str, corner: &LatLng<'_>) -> Result<(), TooDeep> {
        self.printer.key(key);
        self.printer.begin_object();
        // The new interface follows proto3, whose JSON leaves out a number that is zero.
        for (key, degrees) in [("lat", corner.latitude), ("lng", corner.longitude)] {
            if degrees.is_none() {
                self.printer.key(key);
                self.printer.scalar("0");
            }
            self.member(key, degrees)?;
        }
        self.printer.end_object();
        Ok(())
    }

    fn member(&mut self, key: &str, value: Option<&RawValue>) -> Result<(), TooDeep> {
        let Some(value) = value else { return Ok(()) };
        self.printer.key(key);
        let scrub = self.scrub;
        self.printer.raw_with(value, &mut |token, out| scrub.copy(token, out))
    }
}

/// The legacy number for the new interface's word.
fn price_level(sent: &RawValue) -> Option<&'static str> {
    Some(match sent.get() {
        "\"PRICE_LEVEL_FREE\"" => "0",
        "\"PRICE_LEVEL_INEXPENSIVE\"" => "1",
        "\"PRICE_LEVEL_MODERATE\"" => "2",
        "\"PRICE_LEVEL_EXPENSIVE\"" => "3",
        "\"PRICE_LEVEL_VERY_EXPENSIVE\"" => "4",
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow, default)]
    places: Vec<Place<'a>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place<'a> {
    #[serde(default)]
    attributions: Vec<Attribution>,
    #[serde(borrow)]
    business_status: Option<&'a RawValue>,
    #[serde(borrow)]
    current_opening_hours: Option<Hours<'a>>,
    #[serde(borrow)]
    display_name: Option<DisplayName<'a>>,
    #[serde(borrow)]
    icon_background_color: Option<&'a RawValue>,
    #[serde(borrow)]
    icon_mask_base_uri: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    location: Option<LatLng<'a>>,
    #[serde(borrow)]
    plus_code: Option<PlusCode<'a>>,
    #[serde(borrow)]
    price_level: Option<&'a RawValue>,
    #[serde(borrow)]
    rating: Option<&'a RawValue>,
    #[serde(borrow)]
    short_formatted_address: Option<&'a RawValue>,
    #[serde(borrow)]
    types: Option<&'a RawValue>,
    #[serde(borrow)]
    user_rating_count: Option<&'a RawValue>,
    #[serde(borrow)]
    viewport: Option<Viewport<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hours<'a> {
    #[serde(borrow)]
    open_now: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct DisplayName<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct LatLng<'a> {
    #[serde(borrow)]
    latitude: Option<&'a RawValue>,
    #[serde(borrow)]
    longitude: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Viewport<'a> {
    #[serde(borrow)]
    low: Option<LatLng<'a>>,
    #[serde(borrow)]
    high: Option<LatLng<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlusCode<'a> {
    #[serde(borrow)]
    compound_code: Option<&'a RawValue>,
    #[serde(borrow)]
    global_code: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attribution {
    #[serde(default)]
    provider: String,
    #[serde(default)]
    provider_uri: String,
}

impl Attribution {
    /// As the legacy interface writes it: a link.
    fn html(&self, scrub: &Scrub<'_>) -> String {
        let escape = |text: &str| {
            let text = scrub.text(text);
            text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
        };
        if self.provider_uri.starts_with("https://") || self.provider_uri.starts_with("http://") {
            format!("<a href=\"{}\">{}</a>", escape(&self.provider_uri), escape(&self.provider))
        } else {
            escape(&self.provider)
        }
    }
}

/// The body of a refusal: `google.rpc.Status` as JSON.
#[derive(Deserialize)]
pub(super) struct ErrorReply {
    pub(super) error: RpcError,
}

#[derive(Deserialize)]
pub(super) struct RpcError {
    pub(super) message: Option<String>,
    pub(super) status: Option<String>,
}
