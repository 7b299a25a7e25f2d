//! Our words as tantivy wants to see them: the rule is that of `shipwake_model::words`, and only words that are indexed.

use shipwake_model::words::{each_word, is_indexed};
use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// Cuts a text into words.
#[derive(Clone, Default)]
pub(super) struct Words {
    token: Token,
}

pub(super) struct WordStream<'a> {
    text: &'a str,
    token: &'a mut Token,
    /// The words that [`TokenStream::advance`] has yet to give, last first; made when it is first called.
    left: Option<Vec<String>>,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream { text, token: &mut self.token, left: None }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let text = self.text;
        let left = self.left.get_or_insert_with(|| {
            let mut words = shipwake_model::words::words(text);
            words.retain(|word| is_indexed(word));
            words.reverse();
            words
        });
        let Some(word) = left.pop() else { return false };
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text = word;
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }

    /// What the indexer calls: allocates nothing.
    fn process(&mut self, sink: &mut dyn FnMut(&Token)) {
        let token = &mut *self.token;
        each_word(self.text, |word| {
            if is_indexed(word) {
                token.position = token.position.wrapping_add(1);
                token.text.clear();
                token.text.push_str(word);
                sink(token);
            }
        });
    }
}
