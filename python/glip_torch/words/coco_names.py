"""The 80 things of COCO, what people call them, and where WordNet has them.

What the text side of glip-nano is taught with: a word means the classes that list it, or whose synsets (and what is below them
in WordNet) have it as the first meaning; `GROUPS` are words for several classes at once.

`HELD_OUT` are words that are left out of all of that: 25 classes by a common synonym each, fixed before anything was trained,
to measure whether words are understood that nobody connected with a class.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """A class by COCO's name."""

    name: str
    #: Of the name. Those of synonyms are formed by rule.
    plural: str
    synonyms: tuple[str, ...]
    #: WordNet's, as lemma and number of the sense, from 1.
    synsets: tuple[str, ...]


def _thing(name: str, plural: str, synonyms: str, synsets: str) -> Thing:
    return Thing(name, plural, tuple(filter(None, synonyms.split(", "))), tuple(synsets.split()))


#: In COCO's order.
THINGS = [
    _thing(
        "person",
        "people",
        "man, woman, child, boy, girl, kid, guy, lady, adult, baby, toddler, teenager, pedestrian, individual, someone, gentleman, "
        "player, rider, skier, surfer, skateboarder, snowboarder, cyclist, passenger, spectator, worker, chef, waiter, crowd, men, women, children",
        "person.1",
    ),
    _thing("bicycle", "bicycles", "bike, push bike, pushbike, cycle, mountain bike, road bike, bmx bike", "bicycle.1"),
    _thing("car", "cars", "auto, motorcar, sedan, hatchback, station wagon, suv, sports car, taxi, cab, jeep, convertible", "car.1"),
    _thing("motorcycle", "motorcycles", "motor bike, motor cycle, scooter, moped, dirt bike", "motorcycle.1 motor_scooter.1 moped.1"),
    _thing("airplane", "airplanes", "aeroplane, aircraft, jet, airliner, passenger jet, jumbo jet, biplane", "airplane.1"),
    _thing("bus", "buses", "autobus, coach, double decker, double decker bus, school bus, city bus, minibus, tour bus", "bus.1"),
    _thing("train", "trains", "railway train, locomotive, tram, subway train, freight train, passenger train, railroad train", "train.1 locomotive.1"),
    _thing("truck", "trucks", "pickup, pickup truck, semi truck, dump truck, fire truck, fire engine, delivery truck, garbage truck", "truck.1"),
    _thing("boat", "boats", "ship, sailboat, canoe, kayak, ferry, yacht, rowboat, motorboat, fishing boat, sailing boat, speedboat", "boat.1 ship.1"),
    _thing("traffic light", "traffic lights", "stoplight, traffic signal, stop light, street light signal", "traffic_light.1"),
    _thing("fire hydrant", "fire hydrants", "hydrant, fireplug, fire plug", "fireplug.1"),
    _thing("stop sign", "stop signs", "stop traffic sign, red stop sign", ""),
    _thing("parking meter", "parking meters", "parking metre, coin parking meter", "parking_meter.1"),
    _thing("bench", "benches", "park bench, wooden bench, garden bench", "bench.1"),
    _thing("bird", "birds", "pigeon, seagull, gull, duck, goose, parrot, sparrow, crow, eagle, owl, swan, chicken, pelican, heron", "bird.1"),
    _thing("cat", "cats", "kitty, pussycat, tomcat, housecat, house cat, tabby", "cat.1 domestic_cat.1"),
    _thing("dog", "dogs", "hound, doggy, pup, pooch, canine, terrier, retriever, poodle, bulldog, sheepdog", "dog.1"),
    _thing("horse", "horses", "stallion, mare, foal, colt, race horse", "horse.1"),
    _thing("sheep", "sheep", "ewe, ram", "sheep.1"),
    _thing("cow", "cows", "bull, calf, ox, steer, heifer", "cow.1 cow.2 cattle.1"),
    _thing("elephant", "elephants", "african elephant, indian elephant, baby elephant", "elephant.1"),
    _thing("bear", "bears", "brown bear, black bear, grizzly, grizzly bear, polar bear", "bear.1"),
    _thing("zebra", "zebras", "plains zebra, striped zebra", "zebra.1"),
    _thing("giraffe", "giraffes", "camelopard, tall giraffe", "giraffe.1"),
    _thing("backpack", "backpacks", "knapsack, haversack, school bag, schoolbag, packsack", "backpack.1"),
    _thing("umbrella", "umbrellas", "parasol, sunshade, beach umbrella, brolly", "umbrella.1"),
    _thing("handbag", "handbags", "hand bag, shoulder bag, tote, tote bag, pocketbook, shopping bag", "bag.4"),
    _thing("tie", "ties", "bow tie, bowtie, neck tie, cravat", "necktie.1 bow_tie.1"),
    _thing("suitcase", "suitcases", "baggage, travel bag, suit case, rolling suitcase, trolley case", "bag.6 baggage.1"),
    _thing("frisbee", "frisbees", "flying disc, frisbee disc, flying disk", "frisbee.1"),
    _thing("skis", "skis", "ski, pair of skis, snow skis", "ski.1"),
    _thing("snowboard", "snowboards", "snow board", "snowboard.1"),
    _thing(
        "sports ball", "sports balls",
        "ball, football, basketball, tennis ball, baseball, volleyball, soccerball, game ball, golf ball", "ball.1",
    ),
    _thing("kite", "kites", "flying kite, box kite, kite in the sky", "kite.3"),
    _thing("baseball bat", "baseball bats", "bat, softball bat, cricket bat", "baseball_bat.1"),
    _thing("baseball glove", "baseball gloves", "baseball mitt, mitt, catcher's mitt, fielder's glove, catchers mitt", "baseball_glove.1"),
    _thing("skateboard", "skateboards", "skate board, longboard", "skateboard.1"),
    _thing("surfboard", "surfboards", "surf board, boogie board, bodyboard", "surfboard.1"),
    _thing("tennis racket", "tennis rackets", "tennis racquet, racket, racquet, badminton racket", "tennis_racket.1 racket.4"),
    _thing("bottle", "bottles", "water bottle, wine bottle, beer bottle, plastic bottle, glass bottle, flask", "bottle.1"),
    _thing("wine glass", "wine glasses", "wineglass, glass of wine, goblet, champagne glass, stemware", "wineglass.1 goblet.1 champagne_flute.1"),
    _thing("cup", "cups", "coffee cup, teacup, tea cup, paper cup, tumbler, drinking cup, plastic cup, drinking glass, cup of coffee", "cup.1"),
    _thing("fork", "forks", "table fork, dinner fork, salad fork", "fork.1"),
    _thing("knife", "knives", "table knife, kitchen knife, butter knife, steak knife, carving knife", "knife.1 table_knife.1"),
    _thing("spoon", "spoons", "teaspoon, tablespoon, soup spoon, ladle, wooden spoon", "spoon.1"),
    _thing("bowl", "bowls", "soup bowl, mixing bowl, salad bowl, dish bowl", "bowl.1 bowl.3 mixing_bowl.1"),
    _thing("banana", "bananas", "bunch of bananas, plantain", "banana.2 plantain.3"),
    _thing("apple", "apples", "red apple, green apple", "apple.1"),
    _thing("sandwich", "sandwiches", "burger, hamburger, cheeseburger, sub, club sandwich, toastie, sandwich roll", "sandwich.1"),
    _thing("orange", "oranges", "tangerine, mandarin, clementine, orange fruit, satsuma", "orange.1 mandarin.1"),
    _thing("broccoli", "broccoli", "broccoli floret, broccoli florets, head of broccoli", "broccoli.1 broccoli.2"),
    _thing("carrot", "carrots", "baby carrot, carrot stick", "carrot.1 carrot.3"),
    _thing("hot dog", "hot dogs", "hotdog, frankfurter, wiener, sausage in a bun", "hotdog.2 frank.2"),
    _thing("pizza", "pizzas", "pizza pie, slice of pizza, pepperoni pizza", "pizza.1"),
    _thing("donut", "donuts", "glazed donut, dough nut, chocolate donut, ring donut", "doughnut.2"),
    _thing("cake", "cakes", "birthday cake, wedding cake, cupcake, chocolate cake, layer cake, cheesecake, piece of cake", "cake.3"),
    _thing("chair", "chairs", "armchair, office chair, stool, dining chair, seat, rocking chair, folding chair, highchair", "chair.1"),
    _thing("couch", "couches", "settee, loveseat, love seat, divan, chesterfield, sectional couch", "sofa.1"),
    _thing("potted plant", "potted plants", "pot plant, plant pot, flower pot, flowerpot, house plant, plant in a pot, plant", "pot_plant.1"),
    _thing("bed", "beds", "bunk bed, double bed, king size bed, four poster, single bed", "bed.1"),
    _thing("dining table", "dining tables", "table, dinner table, dining room table, kitchen table, desk, coffee table", "table.2 table.3"),
    _thing("toilet", "toilets", "lavatory, commode, toilet bowl, toilet seat, urinal", "toilet.2"),
    _thing("tv", "tvs", "tv set, telly, monitor, flat screen, flatscreen tv, computer monitor, tv screen, screen", "television_receiver.1"),
    _thing("laptop", "laptops", "laptop computer, notebook computer, notebook pc, portable computer, macbook", "laptop.1 notebook.2"),
    _thing("mouse", "mouses", "computer mouse, wireless mouse, pc mouse", "mouse.4"),
    _thing("remote", "remotes", "remote control, tv remote, remote controller, game controller, wii remote", "remote_control.1"),
    _thing("keyboard", "keyboards", "computer keyboard, pc keyboard, wireless keyboard", "computer_keyboard.1"),
    _thing("cell phone", "cell phones", "smartphone, cellphone, cellular phone, iphone, smart phone, phone, handset", "cellular_telephone.1"),
    _thing("microwave", "microwaves", "microwave oven, micro wave", "microwave.2"),
    _thing("oven", "ovens", "cooker, kitchen oven, kitchen range, gas oven", "oven.1"),
    _thing("toaster", "toasters", "bread toaster, toaster oven", "toaster.2"),
    _thing("sink", "sinks", "washbasin, wash basin, basin, kitchen sink, bathroom sink, washbowl", "sink.1 washbasin.1"),
    _thing("refrigerator", "refrigerators", "icebox, freezer, refrigerator freezer, electric refrigerator", "refrigerator.1"),
    _thing("book", "books", "paperback, hardback, textbook, novel, notebook, magazine, hardcover", "book.1 book.2"),
    _thing("clock", "clocks", "wall clock, alarm clock, clock face, clock tower, timepiece", "clock.1"),
    _thing("vase", "vases", "flower vase, urn, glass vase", "vase.1"),
    _thing("scissors", "scissors", "pair of scissors, shears, scissor", "scissors.1 shears.1"),
    _thing("teddy bear", "teddy bears", "teddy, plush toy, stuffed toy, soft toy, stuffed bear, plush bear", "teddy.1"),
    _thing("hair drier", "hair driers", "hair dryer, hairdryer, blow dryer, blow drier, hand blower", "hand_blower.1"),
    _thing("toothbrush", "toothbrushes", "tooth brush, electric toothbrush", "toothbrush.1"),
]  # fmt: skip
CLASSES = [thing.name for thing in THINGS]

#: 25 classes by a word that is in no list above, and is taken out of what WordNet gives.
HELD_OUT = {
    "person": "human", "car": "automobile", "airplane": "plane", "motorcycle": "motorbike", "truck": "lorry", "boat": "vessel",
    "couch": "sofa", "tv": "television", "cell phone": "mobile phone", "refrigerator": "fridge", "cup": "mug",
    "donut": "doughnut", "cow": "cattle", "dog": "puppy", "cat": "kitten", "horse": "pony", "sheep": "lamb", "handbag": "purse",
    "suitcase": "luggage", "backpack": "rucksack", "tie": "necktie", "potted plant": "houseplant",
    "sports ball": "soccer ball", "teddy bear": "stuffed animal", "oven": "stove",
}  # fmt: skip

#: Words for several classes at once.
GROUPS = {
    "animal": "bird cat dog horse sheep cow elephant bear zebra giraffe",
    "mammal": "cat dog horse sheep cow elephant bear zebra giraffe",
    "pet": "cat dog",
    "farm animal": "horse sheep cow",
    "livestock": "horse sheep cow",
    "wild animal": "elephant bear zebra giraffe",
    "vehicle": "bicycle, car, motorcycle, airplane, bus, train, truck, boat",
    "motor vehicle": "car, motorcycle, bus, truck",
    "road vehicle": "bicycle, car, motorcycle, bus, truck",
    "furniture": "bench, chair, couch, bed, dining table",
    "piece of furniture": "bench, chair, couch, bed, dining table",
    "fruit": "banana apple orange",
    "vegetable": "broccoli carrot",
    "food": "banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake",
    "snack": "sandwich, hot dog, pizza, donut, cake",
    "fast food": "sandwich, hot dog, pizza",
    "dessert": "donut cake",
    "pastry": "donut cake",
    "cutlery": "fork knife spoon",
    "silverware": "fork knife spoon",
    "utensil": "fork knife spoon",
    "tableware": "bottle, wine glass, cup, fork, knife, spoon, bowl",
    "dishes": "wine glass, cup, bowl",
    "bag": "backpack, handbag, suitcase",
    "sports equipment": "frisbee, skis, snowboard, sports ball, baseball bat, baseball glove, skateboard, surfboard, tennis racket",
    "appliance": "microwave, oven, toaster, refrigerator",
    "kitchen appliance": "microwave, oven, toaster, refrigerator",
    "household appliance": "microwave, oven, toaster, refrigerator, hair drier",
    "electronics": "tv, laptop, mouse, remote, keyboard, cell phone",
    "electronic device": "tv, laptop, mouse, remote, keyboard, cell phone",
    "computer": "laptop",
    "board": "snowboard skateboard surfboard",
    "drinkware": "wine glass, cup",
    "traffic sign": "stop sign",
    "street sign": "stop sign",
}


def group(word: str) -> list[str]:
    """The classes of a group."""
    names = GROUPS[word]
    return names.split(", ") if "," in names else names.split(" ") if names not in CLASSES else [names]
