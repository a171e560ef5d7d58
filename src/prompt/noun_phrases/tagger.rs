//! What a word is, among its neighbours.

#[cfg(test)]
use super::work;
use super::{
    grammar::Part,
    lexicon::{Kinds, kinds},
    treebank::Token,
};

/// The parts of speech of a sentence's words.
pub(super) fn tag(tokens: &[Token]) -> Vec<Part> {
    let candidates = candidates(tokens);
    let mut context = Context::default();
    let mut parts = Vec::with_capacity(tokens.len());
    for (at, candidate) in candidates.iter().enumerate() {
        #[cfg(test)]
        work::count(1);
        let next = coming(&candidates[at + 1..]);
        let kind = context.decide(*candidate, next);
        context.pass(*candidate, kind);
        parts.push(match kind {
            Kinds::DETERMINER => Part::Determiner,
            Kinds::ADJECTIVE => Part::Adjective,
            Kinds::NOUN => Part::Noun,
            _ => Part::Other,
        });
    }
    parts
}

/// What each word can be. A capital letter inside a sentence makes a name, unless the sentence is
/// written like a title.
fn candidates(tokens: &[Token]) -> Vec<Kinds> {
    let is_capital = |token: &Token| token.text.starts_with(char::is_uppercase);
    let is_acronym =
        |token: &Token| token.text.len() > 1 && !token.text.contains(char::is_lowercase);
    let is_word = |token: &&Token| token.text.starts_with(char::is_alphabetic);
    let words = tokens.iter().filter(is_word).count();
    let capitals = tokens.iter().filter(|token| is_capital(token)).count();
    let is_title = capitals * 2 > words;
    let closed = Kinds::DETERMINER | Kinds::PRONOUN | Kinds::PREPOSITION | Kinds::CONJUNCTION;
    let candidate = |(at, token): (usize, &Token)| {
        let known = kinds(&token.text.to_lowercase());
        let is_name = is_capital(token) && (at > 0 || is_acronym(token));
        match is_name && !is_title && !known.is(closed) {
            true => Kinds::NOUN | Kinds::SINGULAR,
            false => known,
        }
    };
    tokens.iter().enumerate().map(candidate).collect()
}

/// What the next word can be: a participle that no noun follows stands outside of phrases, as
/// adverbs do.
fn coming(candidates: &[Kinds]) -> Kinds {
    match candidates {
        [next, rest @ ..] if next.is(Kinds::PARTICIPLE) && !next.is(Kinds::NOUN) => {
            let describes = rest.first().is_some_and(|after| after.is_nominal());
            if describes { *next } else { Kinds::ADVERB }
        }
        [next, ..] => *next,
        [] => Kinds::MARK,
    }
}

/// What has been read of the sentence so far.
struct Context {
    /// What the last word is.
    last: Kinds,
    /// The same, but for adverbs.
    governor: Kinds,
    /// What stands before the noun phrase that is being read.
    anchor: Kinds,
    /// The determiner of that phrase.
    determiner: Kinds,
    /// Whether its last noun means several things.
    plural: bool,
    /// Whether a verb stands before the last `and`.
    joins_verbs: bool,
    /// Whether the clause has its verb.
    has_verb: bool,
    /// Whether the clause began with a verb.
    commands: bool,
    /// Whether the clause began with an auxiliary, so that its verb follows the subject.
    asks: bool,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            last: Kinds::START,
            governor: Kinds::START,
            anchor: Kinds::START,
            determiner: Kinds::default(),
            plural: false,
            joins_verbs: false,
            has_verb: false,
            commands: false,
            asks: false,
        }
    }
}

impl Context {
    /// Which of the kinds that a word can be it is here. `next` is what the next word can be.
    fn decide(&self, word: Kinds, next: Kinds) -> Kinds {
        if word.is(Kinds::DETERMINER) {
            return self.determiner_or_which(word, next);
        }
        if word.is(Kinds::POSSESSIVE) {
            let is_verb = word.is(Kinds::BE) && self.last != Kinds::NOUN;
            return if is_verb {
                Kinds::BE
            } else {
                Kinds::POSSESSIVE
            };
        }
        let follows_determiner = self.governor.is(Kinds::DETERMINER | Kinds::POSSESSIVE);
        if word.is(Kinds::PREPOSITION) && !(word.is(Kinds::NOUN) && follows_determiner) {
            let leads = next.begins_phrase() || next.is_nominal();
            return match leads {
                true => word.only(Kinds::PREPOSITION | Kinds::MEANS),
                false => Kinds::ADVERB,
            };
        }
        if word.is(Kinds::AUXILIARY) && !(word.is(Kinds::NOUN) && self.is_thing(next)) {
            return Kinds::AUXILIARY;
        }
        if word.is(Kinds::PARTICIPLE) {
            return self.participle(word, next);
        }
        if word.is(Kinds::VERB | Kinds::PAST) {
            return self.verb_or_nominal(word, next);
        }
        if word.is(Kinds::ADJECTIVE | Kinds::NOUN) {
            return self.nominal(word, next);
        }
        let order = [
            Kinds::WHICH,
            Kinds::PRONOUN,
            Kinds::TO,
            Kinds::BE,
            Kinds::HAVE,
            Kinds::CONJUNCTION,
            Kinds::NUMBER,
            Kinds::ADVERB,
        ];
        order
            .into_iter()
            .find(|kind| word.is(*kind))
            .unwrap_or(Kinds::MARK)
    }

    /// `that` points to a noun, or begins a clause.
    fn determiner_or_which(&self, word: Kinds, next: Kinds) -> Kinds {
        let points = next.is_nominal() && !next.is_plural() && self.last != Kinds::NOUN;
        if word.is(Kinds::WHICH) && !points {
            Kinds::WHICH
        } else {
            Kinds::DETERMINER
        }
    }

    /// Whether `can` is one.
    fn is_thing(&self, next: Kinds) -> bool {
        let verb_follows = next.is(Kinds::VERB | Kinds::BE | Kinds::HAVE | Kinds::PRONOUN)
            || next.is(Kinds::ADVERB) && !next.is(Kinds::PREPOSITION);
        let in_phrase = Kinds::DETERMINER | Kinds::POSSESSIVE | Kinds::ADJECTIVE | Kinds::NUMBER;
        self.governor.is(in_phrase) || self.governor == Kinds::NOUN && !verb_follows
    }

    /// `running` and `parked` belong to the noun after them, or to the one before.
    fn participle(&self, word: Kinds, next: Kinds) -> Kinds {
        let follows_subject = match self.governor {
            Kinds::NOUN | Kinds::BE | Kinds::PRONOUN => true,
            Kinds::CONJUNCTION => self.joins_verbs,
            Kinds::WHICH => next.begins_phrase(),
            _ => false,
        };
        let is_nominal = !follows_subject || word.is(Kinds::ADJECTIVE) && next.is_nominal();
        if word.is(Kinds::NOUN) && is_nominal {
            return self.nominal(word, next);
        }
        if next.is_nominal() && self.is_attributive(word) {
            return Kinds::ADJECTIVE;
        }
        match self.governor {
            Kinds::DETERMINER | Kinds::POSSESSIVE if word.is(Kinds::WITH_ING) => Kinds::NOUN,
            Kinds::DETERMINER | Kinds::POSSESSIVE => Kinds::ADJECTIVE,
            _ => Kinds::PARTICIPLE,
        }
    }

    /// Whether a participle before a noun describes it.
    fn is_attributive(&self, word: Kinds) -> bool {
        let is_ing = word.is(Kinds::WITH_ING);
        let governor = self.governor;
        match governor {
            Kinds::MARK | Kinds::VERB => !is_ing,
            Kinds::HAVE => is_ing,
            Kinds::CONJUNCTION => !self.joins_verbs,
            _ if governor.is(Kinds::MEANS) => !is_ing,
            _ => governor.is(Kinds::START
                | Kinds::DETERMINER
                | Kinds::POSSESSIVE
                | Kinds::ADJECTIVE
                | Kinds::NUMBER
                | Kinds::PREPOSITION
                | Kinds::TO),
        }
    }

    /// `watch`, `watches`, `clean`: a verb, or part of a noun phrase.
    fn verb_or_nominal(&self, word: Kinds, next: Kinds) -> Kinds {
        let nominal = word.only(Kinds::NOUN | Kinds::ADJECTIVE);
        let is_verb = if nominal == Kinds::default() {
            !self.awaits_noun() || word.is(Kinds::PAST)
        } else {
            self.wants_verb(word, next)
        };
        match (is_verb, nominal == Kinds::default()) {
            (true, _) => Kinds::VERB,
            (false, true) => Kinds::NOUN,
            (false, false) => self.nominal(word, next),
        }
    }

    /// Whether a noun phrase has begun, and needs a noun.
    fn awaits_noun(&self) -> bool {
        let in_phrase = self.governor == Kinds::ADJECTIVE && self.determiner != Kinds::default();
        in_phrase || self.governor.is(Kinds::DETERMINER | Kinds::POSSESSIVE)
    }

    /// Whether a word that can be either is a verb here.
    fn wants_verb(&self, word: Kinds, next: Kinds) -> bool {
        let has_s = word.is(Kinds::WITH_S);
        match self.governor {
            Kinds::AUXILIARY | Kinds::TO => !has_s,
            Kinds::PRONOUN => !self.has_verb,
            Kinds::WHICH => has_s || next.begins_phrase(),
            Kinds::NOUN => self.is_subject_of(word, next),
            Kinds::START | Kinds::MARK => !has_s && (next.begins_phrase() || is_direction(next)),
            Kinds::CONJUNCTION => {
                let goes_on =
                    self.commands && next.is(Kinds::PREPOSITION | Kinds::ADVERB | Kinds::TO);
                self.joins_verbs || next.begins_phrase() || goes_on && !has_s
            }
            _ => false,
        }
    }

    /// Whether the noun phrase before a word that can be a verb is its subject.
    fn is_subject_of(&self, word: Kinds, next: Kinds) -> bool {
        if word.is(Kinds::PAST) {
            return !self.has_verb;
        }
        if !word.is(Kinds::WITH_S) {
            let begins_clause = !self.has_verb || self.anchor == Kinds::CONJUNCTION;
            let goes_on = next.begins_phrase() || next.is(Kinds::PREPOSITION);
            let agrees = self.plural || self.anchor == Kinds::CONJUNCTION && goes_on;
            return !word.is(Kinds::ADJECTIVE) && (self.asks || agrees && begins_clause);
        }
        if self.determiner.is(Kinds::ONE) && !self.plural {
            return true;
        }
        let next_is_verb = next.is(Kinds::BE | Kinds::HAVE | Kinds::AUXILIARY)
            || next.is(Kinds::VERB) && !next.is(Kinds::NOUN | Kinds::ADJECTIVE);
        if next_is_verb || self.has_verb || self.determiner.is(Kinds::SEVERAL | Kinds::NUMBER) {
            return false;
        }
        self.anchor
            .is(Kinds::START | Kinds::MARK | Kinds::WHICH | Kinds::CONJUNCTION)
            || next.begins_phrase()
            || next.is(Kinds::PREPOSITION | Kinds::ADVERB)
    }

    /// Adjective or noun.
    fn nominal(&self, word: Kinds, next: Kinds) -> Kinds {
        if word.is(Kinds::GUESS) {
            return self.guess(word, next);
        }
        if !word.is(Kinds::ADJECTIVE) {
            return Kinds::NOUN;
        }
        if word.is(Kinds::ADVERB) && self.governor == Kinds::VERB && !next.is_nominal() {
            return Kinds::ADVERB;
        }
        let is_noun = if next.is_nominal() {
            // An adjective after a noun would break the phrase, and one before a verb is none.
            let noun = word.is(Kinds::NOUN | Kinds::COLOUR);
            noun && (self.last == Kinds::NOUN || next.is(Kinds::VERB))
        } else if word.is(Kinds::COLOUR) {
            self.anchor.is(Kinds::PREPOSITION) && self.determiner == Kinds::default()
        } else {
            word.is(Kinds::NOUN) && self.governor != Kinds::BE
        };
        if is_noun {
            Kinds::NOUN
        } else {
            Kinds::ADJECTIVE
        }
    }

    /// A word of no list: a noun, unless there is a verb missing or an adjective expected.
    fn guess(&self, word: Kinds, next: Kinds) -> Kinds {
        let leads = next.begins_phrase();
        let has_object = leads && next.is(Kinds::DETERMINER | Kinds::POSSESSIVE);
        let commands = self.governor == Kinds::START && has_object;
        let misses_verb = self.determiner.is(Kinds::ONE) || leads && !self.has_verb;
        let follows_one = self.last == Kinds::NOUN && !self.plural;
        if commands || misses_verb && follows_one && word.is(Kinds::WITH_S) {
            Kinds::VERB
        } else if !word.is(Kinds::WITH_S) && self.governor == Kinds::BE && !next.is_nominal() {
            Kinds::ADJECTIVE
        } else {
            Kinds::NOUN
        }
    }

    /// Goes on to the next word.
    fn pass(&mut self, word: Kinds, kind: Kinds) {
        self.note_clause(kind);
        self.note_phrase(word, kind);
        self.last = kind;
        if kind != Kinds::ADVERB {
            self.governor = kind;
        }
    }

    fn note_clause(&mut self, kind: Kinds) {
        match kind {
            Kinds::CONJUNCTION => {
                self.joins_verbs = self.governor.is(Kinds::VERB | Kinds::PARTICIPLE);
            }
            Kinds::AUXILIARY => {
                let begins = Kinds::START | Kinds::MARK | Kinds::WHICH;
                self.asks = self.governor.is(begins) || self.anchor == Kinds::WHICH;
            }
            Kinds::MARK | Kinds::WHICH => {
                (self.has_verb, self.asks, self.commands) = (false, false, false);
            }
            Kinds::VERB | Kinds::BE | Kinds::HAVE => {
                let begins = self.governor.is(Kinds::START | Kinds::MARK);
                self.commands |= kind == Kinds::VERB && begins;
                (self.has_verb, self.asks) = (true, false);
            }
            _ => {}
        }
    }

    fn note_phrase(&mut self, word: Kinds, kind: Kinds) {
        let begins = Kinds::DETERMINER | Kinds::POSSESSIVE | Kinds::NUMBER;
        if kind.is(begins) {
            self.determiner = kind | word.only(Kinds::ONE | Kinds::SEVERAL);
        } else if kind == Kinds::NOUN {
            self.plural = word.is_plural() && !word.is(Kinds::SINGULAR);
        } else if !kind.is(Kinds::ADJECTIVE | Kinds::ADVERB) {
            self.anchor = kind;
            self.determiner = Kinds::default();
            self.plural = false;
        }
    }
}

/// Whether a command goes on like this: "go to", "look at", "turn off".
fn is_direction(next: Kinds) -> bool {
    next.is(Kinds::TO | Kinds::ADVERB)
}
