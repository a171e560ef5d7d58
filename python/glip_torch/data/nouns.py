"""The everyday things of glip-drawn: their pictures, the words for them, and the words held out.

Every noun has a name and synonyms that training uses, and some have a wording that it never uses (`Noun.held_out`). What a
model trained on this data alone can know of a wording it never met is what its tokens meant elsewhere, so each held-out
wording is made of tokens that training uses, in one of these ways. Nothing is held out that shares no token with training
("brolly", "fiddle"): no model could know it.

short      a shortening, which is the first piece of the trained word ("hippo" of "hippo ##potamus") or one word of a trained
           wording ("bulb" of "electric bulb")
joined     two words, each trained in another wording of the same noun ("puppy dog", "fire truck")
reordered  the words of a trained compound the other way round ("glass of wine" for "wine glass")
spelling   the trained word in two words, or with a hyphen ("honey bee" for "honey ##bee"): the first token is the trained
           one, the second a token of its own that training uses elsewhere, sometimes for something else ("jelly fish" has
           the fish's name in it)
borrowed   the trained word with a companion that training uses with other nouns ("koala bear", after "panda bear")
plural     the plural, where training uses the singular alone; plurals of other nouns are trained. The easiest kind, and
           measured apart from the others.

No noun is the general term for another ("bird", "shoe", "ball" are not asked for by themselves), and none shares a name with a
shape, a colour or a pattern: the doughnut, the star and the orange are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("short", "joined", "reordered", "spelling", "borrowed", "plural")


@dataclass(frozen=True)
class Noun:
    name: str
    #: Rough sort of thing: confusions within a group are the likely ones.
    group: str
    #: Names of its pictures in the icon set.
    pictures: tuple[str, ...]
    #: Whether it comes in all the palette's colours rather than in its own; one hue then makes up most of its picture.
    painted: bool
    #: The wordings that training uses, the name first.
    names: tuple[str, ...]
    #: Wordings that training never uses, and of which kind each is.
    held_out: dict[str, str]

    @property
    def plural_known(self) -> bool:
        return "plural" not in self.held_out.values()


# Name (with * where it is painted) | pictures, where not called as the noun | more trained names | held-out names.
_TABLE = """
# animal
dog          | dog dog-face         | puppy                       | joined: puppy dog
cat          | cat cat-face         | kitten, kitty               | joined: kitty cat
rabbit       | rabbit rabbit-face   | bunny                       | joined: bunny rabbit
horse        | horse horse-face     | pony                        |
cow          | cow cow-face         | dairy cow                   |
pig          | pig pig-face         | hog                         |
sheep        | ewe                  | lamb                        |
mouse        | mouse mouse-face     |                             |
elephant     |                      |                             | plural: elephants
giraffe      |                      |                             |
zebra        |                      |                             |
lion         |                      |                             |
tiger        | tiger tiger-face     |                             | plural: tigers
bear         |                      | grizzly bear                | short: grizzly
panda        |                      | panda bear                  |
koala        |                      |                             | borrowed: koala bear
monkey       | monkey monkey-face   | ape                         |
kangaroo     |                      |                             |
camel        | camel two-hump-camel |                             |
hippopotamus |                      |                             | short: hippo
rhinoceros   |                      |                             | short: rhino
crocodile    |                      | alligator                   | short: croc
turtle       |                      | tortoise                    |
snake        |                      | serpent                     |
frog         |                      | toad                        |
penguin      |                      |                             | plural: penguins
owl          |                      |                             |
parrot       |                      |                             |
flamingo     |                      |                             |
duck         |                      | mallard                     |
dolphin      |                      |                             |
fish         | fish tropical-fish   | tropical fish               |
octopus      |                      |                             |
crab         |                      |                             |
snail        |                      |                             |
butterfly    |                      |                             |
bee          | honeybee             | honeybee                    | spelling: honey bee
ladybug      | lady-beetle          | ladybird                    |
spider       |                      |                             |
hedgehog     |                      |                             |
fox          |                      |                             |
jellyfish    |                      |                             | spelling: jelly fish
dinosaur     | sauropod             |                             | short: dino
# food
apple        | red-apple green-apple |                            |
banana       |                      |                             |
grapes       |                      | bunch of grapes             |
strawberry   |                      |                             |
pineapple    |                      | ananas                      |
watermelon   |                      | slice of watermelon         |
lemon        |                      |                             | plural: lemons
carrot       |                      |                             |
corn         | ear-of-corn          | corn cob, maize             | reordered: cob of corn
broccoli     |                      |                             |
mushroom     |                      | toadstool                   |
bread        |                      | bread loaf, toast           | reordered: loaf of bread
cheese       | cheese-wedge         | cheese wedge                | reordered: wedge of cheese
hamburger    |                      | beef burger                 | short: burger
hot dog      |                      | frankfurter                 |
pizza        |                      | pizza slice                 | reordered: slice of pizza
ice cream    | ice-cream soft-ice-cream | sundae                  | spelling: ice-cream
cake         | birthday-cake        | birthday cake               |
popcorn      |                      |                             |
french fries |                      | potato fries                | short: fries
pancakes     |                      | pancake stack               | reordered: stack of pancakes
chocolate bar | chocolate-bar       | chocolate                   | reordered: bar of chocolate
# plant
cactus       |                      |                             |
pine tree    | evergreen-tree       | fir tree                    | short: pine
palm tree    | palm-tree            | palm                        |
sunflower    |                      |                             | spelling: sun flower
tulip        |                      |                             | borrowed: tulip flower
rose         |                      | rose flower                 |
# vehicle
car*         | automobile oncoming-automobile | automobile        | short: auto
bus          |                      | coach                       |
taxi         |                      | cab                         |
fire engine  |                      | fire brigade truck          | joined: fire truck
truck        | delivery-truck       | delivery truck, lorry       | joined: delivery lorry
tractor      |                      |                             |
bicycle      |                      | mountain bike               | short: bike
motorcycle*  |                      | motorbike                   |
train        | locomotive           | steam train, locomotive     | joined: steam locomotive
airplane     |                      | plane                       | spelling: air plane
helicopter   |                      | chopper                     |
rocket       |                      | space rocket                | plural: rockets
sailboat     |                      | sailing boat, yacht         | spelling: sail boat
ship         |                      | passenger ship, ocean liner | joined: passenger liner
# household
chair        |                      |                             |
bed          |                      |                             |
light bulb   |                      | electric bulb               | short: bulb
alarm clock  |                      | clock                       |
umbrella*    |                      | parasol                     |
toothbrush   |                      |                             | spelling: tooth brush
cup          | hot-beverage         | mug, coffee cup             | reordered: cup of coffee; joined: coffee mug
teapot*      |                      |                             |
wine glass   |                      |                             | reordered: glass of wine
hourglass    | hourglass-done       | sand timer                  | spelling: hour glass
telephone*   |                      |                             |
mobile phone |                      | cell phone, smartphone      | short: mobile; spelling: smart phone
camera       |                      | photo camera                |
television   |                      | television set, tv          | joined: tv set
laptop       |                      | laptop computer             | short: computer
book*        | closed-book          |                             |
house        |                      | cottage                     |
lighthouse   |                      |                             |
# tool
key          |                      |                             |
padlock      | locked               | lock                        |
scissors     |                      | shears                      | borrowed: pair of scissors
hammer       |                      |                             |
axe          |                      | hatchet                     |
ladder       |                      | step ladder                 |
bucket*      |                      | pail                        |
paintbrush   |                      | artist brush                | spelling: paint brush
# plaything
guitar*      |                      | electric guitar             | plural: guitars
drum         |                      |                             |
saxophone    |                      |                             | short: sax
bell         |                      |                             |
balloon*     |                      |                             |
kite         |                      |                             |
soccer ball  |                      | football                    |
teddy bear   |                      | toy bear                    | short: teddy
snowman      |                      |                             |
# clothing
backpack*    |                      | rucksack, school bag        |
handbag      |                      | purse                       | spelling: hand bag
glasses      |                      | spectacles, pair of glasses |
watch        |                      | wristwatch                  | spelling: wrist watch
top hat      |                      | magician hat                |
cap*         | billed-cap           | baseball cap                |
crown        |                      |                             |
dress*       |                      | gown                        |
shirt*       | t-shirt              | t-shirt                     |
sneaker*     | running-shoe         | running shoe                |
"""

#: Trained words that the vocabulary holds in pieces, because held-out wordings use a piece, or as "sail ##boat" and "sail boat".
PIECES = {
    word.replace(" ##", ""): tuple(word.split())
    for word in (
        "hippo ##potamus",
        "rhino ##ceros",
        "croc ##odile",
        "dino ##saur",
        "sax ##ophone",
        "auto ##mobile",
        "ham ##burger",
        "honey ##bee",
        "jelly ##fish",
        "sun ##flower",
        "motor ##bike",
        "motor ##cycle",
        "air ##plane",
        "sail ##boat",
        "tooth ##brush",
        "paint ##brush",
        "hour ##glass",
        "tele ##phone",
        "tele ##vision",
        "smart ##phone",
        "foot ##ball",
        "hand ##bag",
        "wrist ##watch",
        "lady ##bug",
        "lady ##bird",
    )
}

#: Words whose singular takes no "a", and which have no other plural.
UNCOUNTED = frozenset(
    "grapes corn maize broccoli bread toast cheese popcorn pancakes chocolate scissors shears glasses spectacles".split()
) | {"french fries", "potato fries", "ice cream", "bunch of grapes", "pair of glasses", "slice of watermelon"}
_IRREGULAR_PLURALS = {
    "mouse": "mice",
    "sheep": "sheep",
    "fish": "fish",
    "snowman": "snowmen",
    "loaf": "loaves",
    "jellyfish": "jellyfish",
}

# Things that no scene shows, for prompts to ask for in vain. Some begin like a word of this world ("carpet", "cowboy"), to be
# read to the end. General terms ("bird", "hat") are in neither list: they are neither true nor false.
_ABSENT = (
    "table road river mountain cloud person man woman child platelet chandelier aerosol helmet drone valve screw cable rope coin "
    "robot bench fence carpet curtain pillow blanket towel mirror sink oven fridge stove fork plate bowl napkin vase jar statue tower "
    "bridge church factory tunnel gate barrel flag crane shovel saw drill nail needle thread skeleton pigeon carton capital keyhole "
    "bedrock beetle busker dogma catapult corner cupboard bookshelf bellows foxglove mask magnet printer sculpture tripod harbour "
    "glacier desert volcano rainbow lightning puddle crowd soldier nurse chef dancer stroller trolley parcel traffic-light coffee-table"
)
_ABSENT_HELD_OUT = (
    "wardrobe envelope calculator ostrich accordion anvil saddle lantern fountain windmill escalator compass stapler thermometer "
    "pumpkin walnut otter moose walrus tarantula cowboy cargo capsule catfish beehive rosemary busboy hammock crowbar surgeon judge "
    "astronaut mermaid pyramid igloo canyon waterfall syringe parachute snowplough"
)


def _without_hyphens(words: str) -> tuple[str, ...]:
    return tuple(word.replace("-", " ") for word in words.split())


#: Training asks for the first only; false alarms are measured on the second.
ABSENT = _without_hyphens(_ABSENT)
ABSENT_HELD_OUT = _without_hyphens(_ABSENT_HELD_OUT)


def _parse(table: str) -> dict[str, Noun]:
    nouns, group = {}, ""
    for line in table.strip().splitlines():
        if line.startswith("#"):
            group = line[1:].strip()
            continue
        name, pictures, names, held_out = (cell.strip() for cell in line.split("|"))
        painted, name = name.endswith("*"), name.rstrip("*")
        wordings = [part.strip().split(": ") for part in held_out.split(";") if part]
        nouns[name] = Noun(
            name,
            group,
            tuple(pictures.split() or [name.replace(" ", "-")]),
            painted,
            (name, *(word.strip() for word in names.split(",") if word)),
            {wording: kind for kind, wording in wordings},
        )
    return nouns


#: Every noun by its name.
NOUNS = _parse(_TABLE)
#: Every held-out wording: what it is for, and its kind.
HELD_OUT_NAMES = {wording: (noun.name, kind) for noun in NOUNS.values() for wording, kind in noun.held_out.items()}


def plural(name: str) -> str:
    """The plural of a name: of its last word, or of the first before "of"."""
    if name in UNCOUNTED:
        return name
    before, word = name[: name.rfind(" ") + 1], name[name.rfind(" ") + 1 :]
    if word in _IRREGULAR_PLURALS:
        return before + _IRREGULAR_PLURALS[word]
    if word.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    if word.endswith("y") and word[-2] not in "aeo":
        return name[:-1] + "ies"
    return name + "s"
