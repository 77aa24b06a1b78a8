//! A page as html5ever's tokenizer reads it, which is the HTML standard's.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::{RawKind, State};
use html5ever::tokenizer::{
    BufferQueue, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};

/// A start tag.
#[derive(Debug)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
}

impl Element {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|attribute| attribute.0 == name).map(|attribute| attribute.1.as_str())
    }
}

/// Start tags and texts in their order.
#[derive(Debug, Default)]
pub struct Page {
    pub elements: Vec<Element>,
    pub errors: Vec<String>,
    /// What opens, closes and is said.
    events: Vec<Event>,
}

#[derive(Debug)]
enum Event {
    Open(String),
    Close(String),
    Text(String),
}

#[derive(Default)]
struct Sink(RefCell<Page>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut page = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) => {
                let name = tag.name.to_string();
                if tag.kind == TagKind::EndTag {
                    page.events.push(Event::Close(name));
                    return TokenSinkResult::Continue;
                }
                let attributes = tag.attrs.iter();
                let attributes = attributes.map(|a| (a.name.local.to_string(), a.value.to_string()));
                let attributes = attributes.collect();
                page.elements.push(Element { name: name.clone(), attributes });
                page.events.push(Event::Open(name.clone()));
                match name.as_str() {
                    "script" => return TokenSinkResult::RawData(RawKind::ScriptData),
                    "style" => return TokenSinkResult::RawData(RawKind::Rawtext),
                    "title" => return TokenSinkResult::RawData(RawKind::Rcdata),
                    _ => {}
                }
            }
            Token::CharacterTokens(text) => page.events.push(Event::Text(text.to_string())),
            Token::ParseError(error) => page.errors.push(error.to_string()),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

impl Page {
    pub fn read(html: &str) -> Self {
        let input = BufferQueue::default();
        input.push_back(StrTendril::from(html));
        let options =
            TokenizerOpts { exact_errors: true, initial_state: Some(State::Data), ..Default::default() };
        let tokenizer = Tokenizer::new(Sink::default(), options);
        let _ = tokenizer.feed(&input);
        tokenizer.end();
        tokenizer.sink.0.into_inner()
    }

    /// Everything that is said, without tags.
    pub fn text(&self) -> String {
        let said = self.events.iter().filter_map(|event| match event {
            Event::Text(text) => Some(text.as_str()),
            _ => None,
        });
        said.collect()
    }

    /// The cells of every table, row by row.
    pub fn tables(&self) -> Vec<Vec<Vec<String>>> {
        let mut tables: Vec<Vec<Vec<String>>> = Vec::new();
        let mut inside = false;
        for event in &self.events {
            match event {
                Event::Open(name) if name == "table" => tables.push(Vec::new()),
                Event::Open(name) if name == "tr" => tables.last_mut().unwrap().push(Vec::new()),
                Event::Open(name) if name == "th" || name == "td" => {
                    inside = true;
                    tables.last_mut().unwrap().last_mut().unwrap().push(String::new());
                }
                Event::Close(name) if name == "th" || name == "td" => inside = false,
                Event::Text(text) if inside => {
                    *tables.last_mut().unwrap().last_mut().unwrap().last_mut().unwrap() += text;
                }
                _ => {}
            }
        }
        tables
    }
}
