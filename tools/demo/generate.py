#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Write simple English stories, the training text of Linnet's demo model.

Contract: the same seed and count give the same bytes on every machine and
Python >= 3.8; only the standard library is used, and every word of the text
comes from this file.  A record is a request, which may be empty, and a story
whose paragraphs are parted by empty lines; what is asked for is in the story.
On standard output the byte 0x1e (record separator) follows each record.

How a story is made: a *world* (setting, hero, friend, helper, thing, food) is
drawn first, then a *plot* tells what happens to it.  A plot is a list of
paragraphs and a paragraph is a list of sentence templates.  In a template

    [a|b|c]   is one of the alternatives, which may nest and may be empty,
    {h.n}     is a field of the world (here the hero's name),
    @         is "a" or "an", by the letter that follows.

What must agree later in the story (names, pronouns, colours, places) is always
a field of the world, never an alternative.
"""

import argparse
import random
import re
import sys

# ---------------------------------------------------------------- characters

NAMES = {
    "she": "Mia Lily Rosie Luna Daisy Nell Poppy Hazel Ruby Tilly Ivy Fern Clara Nora Olive Willow".split(),
    "he": "Pip Finn Toby Milo Oscar Max Ben Leo Otto Hugo Felix Teddy Jasper Bruno Theo Moss".split(),
}

PRONOUNS = {"she": ("she", "her", "her", "herself"), "he": ("he", "him", "his", "himself")}

# kind: (what it looks like, foods it likes)
KINDS = {
    "fox": ("red fur", ["blackberries", "warm soup", "honey cakes"]),
    "rabbit": ("long ears", ["carrots", "sweet clover", "carrot cake"]),
    "bear": ("thick brown fur", ["honey", "blueberries", "honey cakes"]),
    "mouse": ("tiny ears", ["cheese", "bread", "sunflower seeds"]),
    "hedgehog": ("brown spines", ["apples", "mushroom soup", "pears"]),
    "squirrel": ("a bushy tail", ["nuts", "acorns", "nut bread"]),
    "owl": ("big yellow eyes", ["berry pie", "nut bread"]),
    "bird": ("tiny brown wings", ["cherries", "sunflower seeds"]),
    "deer": ("thin brown legs", ["sweet clover", "apples"]),
    "wolf": ("thick grey fur", ["warm soup", "berry pie"]),
    "badger": ("a striped face", ["mushroom soup", "plums", "apples"]),
    "mole": ("soft black fur", ["potato soup", "mushroom soup"]),
    "raccoon": ("a striped tail", ["plums", "pancakes", "berry pie"]),
    "duck": ("yellow feathers", ["bread", "berries"]),
    "frog": ("shiny green skin", ["berry pie", "pancakes"]),
    "otter": ("smooth brown fur", ["clams", "berry pie"]),
    "turtle": ("a round green shell", ["lettuce", "strawberries"]),
    "beaver": ("a flat tail", ["nut bread", "apples"]),
    "lamb": ("curly white wool", ["sweet clover", "lettuce"]),
    "sheep": ("thick white wool", ["sweet clover", "apples"]),
    "cow": ("big brown spots", ["sweet clover", "corn"]),
    "horse": ("a long black mane", ["apples", "carrots"]),
    "pony": ("a long brown mane", ["apples", "carrots", "oats"]),
    "unicorn": ("a silver mane", ["strawberries", "honey cakes"]),
    "goat": ("a small white beard", ["lettuce", "oats", "pears"]),
    "pig": ("a curly tail", ["pumpkin soup", "potatoes", "plums"]),
    "hen": ("soft white feathers", ["corn", "sunflower seeds"]),
    "cat": ("soft grey fur", ["fish cakes", "cheese"]),
    "kitten": ("soft striped fur", ["fish cakes", "cheese"]),
    "dog": ("long brown ears", ["sausages", "pancakes"]),
    "puppy": ("floppy ears", ["sausages", "honey cakes"]),
    "penguin": ("shiny black feathers", ["fish cakes", "warm soup"]),
    "seal": ("a smooth grey coat", ["fish cakes", "clams"]),
    "crab": ("a hard red shell", ["clams", "berries"]),
    "lion": ("a golden mane", ["sausages", "honey cakes"]),
    "tiger": ("black stripes", ["sausages", "pancakes"]),
    "elephant": ("big grey ears", ["bananas", "peanuts"]),
    "monkey": ("a long brown tail", ["bananas", "coconuts"]),
    "parrot": ("red and green feathers", ["coconuts", "peanuts"]),
    "zebra": ("black and white stripes", ["bananas", "sweet clover"]),
    "robot": ("two round lamp eyes", ["lemon cake", "nut bread"]),
    "dragon": ("bright green scales", ["pumpkin soup", "hot pancakes", "berry pie"]),
    "princess": ("long golden hair", ["apple pie", "strawberries"]),
    "prince": ("curly red hair", ["plums", "lemon cake"]),
    "knight": ("a shiny silver hat", ["warm soup", "apple pie"]),
    "wizard": ("a tall blue hat", ["mushroom soup", "lemon cake"]),
    "girl": ("curly brown hair", ["pancakes", "apple pie", "strawberries", "warm soup"]),
    "boy": ("short black hair", ["pancakes", "berry pie", "plums", "warm soup"]),
}

GENDER = {"girl": "she", "hen": "she", "cow": "she", "princess": "she", "boy": "he", "prince": "he"}

ADJS = ["little", "little", "little", "small", "young", "kind", "brave", "shy", "clever",
        "cheerful", "curious", "quiet", "busy", "gentle", "funny", "happy"]

TRAITS = {
    "little": ["but {He} was brave", "but {He} had a big heart"],
    "brave": ["and {He} was not afraid of the dark", "and {He} loved adventures"],
    "shy": ["and {He} did not talk much", "and {He} liked quiet places"],
    "clever": ["and {He} always had good ideas", "and {He} knew many riddles"],
    "curious": ["and {He} asked many questions", "and {He} wanted to know everything"],
    "cheerful": ["and {He} sang all day long", "and {He} laughed a lot"],
    "funny": ["and {He} made everybody laugh"],
    "quiet": ["and {He} loved to look at the clouds"],
    "busy": ["and {He} always had something to do"],
    "gentle": ["and {He} never hurt a fly"],
    "kind": ["and {He} helped everybody"],
    "happy": ["and {He} loved to dance"],
}

# ---------------------------------------------------------------- settings

SETTINGS = {
    "forest": dict(
        place="the forest", inside="in the forest",
        names=["a green forest", "a quiet forest", "a deep forest", "an old forest", "a big forest"],
        kinds="fox rabbit bear mouse hedgehog squirrel owl deer badger mole raccoon wolf bird fox rabbit bear".split(),
        elders=["owl", "badger", "bear", "hedgehog"],
        homes=["under an old oak tree", "in a hollow tree", "in a cosy cave", "under a big mossy rock",
               "beside a bed of ferns", "in a tiny house between the trees"],
        spots=["under a pile of leaves", "behind a mossy stone", "inside a hollow log",
               "under a big mushroom", "between the roots of a tree", "in a blackberry bush"],
        way=["down the mossy path", "through the trees", "over the fallen logs", "past the old oak"],
        sights=["The birds were singing in the trees.", "The leaves were green and gold.",
                "Sunlight danced between the trees.", "The air smelled of pine and moss."]),
    "river": dict(
        place="the river", inside="by the river",
        names=["a wide blue river", "a quiet river", "a clear little river", "a slow green river"],
        kinds="duck frog otter turtle beaver mouse rabbit bird".split(),
        elders=["turtle", "frog", "beaver"],
        homes=["near a little bridge", "under a willow tree", "on a sandy bank",
               "in a house of sticks", "beside a small waterfall"],
        spots=["under a lily leaf", "between the reeds", "behind a round stone", "under the little bridge",
               "on the sandy bank", "next to the willow tree"],
        way=["along the river", "over the little bridge", "through the reeds", "past the waterfall"],
        sights=["The water was clear and cool.", "Dragonflies danced over the water.",
                "The river sang its quiet song.", "Small fish jumped in the sun."]),
    "meadow": dict(
        place="the meadow", inside="in the meadow",
        names=["a sunny meadow", "a wide meadow", "a meadow full of flowers", "a green meadow"],
        kinds="rabbit mouse lamb pony mole hedgehog goat fox unicorn horse bird sheep".split(),
        elders=["goat", "mole", "pony"],
        homes=["under a hill", "near a small stream", "behind a hedge of roses", "beside an apple tree"],
        spots=["in the tall grass", "behind the apple tree", "under the hedge", "next to the little stream",
               "among the daisies", "behind a grey stone"],
        way=["through the tall grass", "up the hill", "over the little stream", "past the hedge"],
        sights=["The grass was full of daisies.", "Bees hummed from flower to flower.",
                "White clouds sailed over the hills.", "Butterflies danced in the warm air."]),
    "farm": dict(
        place="the farm", inside="on the farm",
        names=["a small farm", "an old farm", "a busy farm", "a farm with a red barn"],
        kinds="cat dog puppy duck lamb pony pig goat hen kitten cow horse sheep girl boy".split(),
        elders=["farmer", "grandmother", "goat", "grandfather"],
        homes=["behind the red barn", "next to a field of corn", "beside a round pond", "near an old mill"],
        spots=["in the hay", "behind the barn", "under the old cart", "next to the well",
               "between the pumpkins", "behind the water bucket"],
        way=["across the yard", "past the barn", "through the corn", "around the pond"],
        sights=["The hay smelled sweet.", "The pumpkins were round and orange.",
                "The corn was tall and yellow.", "The rooster sang on the roof."]),
    "village": dict(
        place="the village", inside="in the village",
        names=["a small village", "a quiet village", "a village on a hill", "a pretty village"],
        kinds="girl boy cat dog puppy mouse robot kitten bird girl boy".split(),
        elders=["baker", "grandmother", "gardener", "grandfather", "teacher"],
        homes=["in a blue house with a garden", "in a small house with a red door",
               "above the bakery", "next to the old clock tower", "in a little white house"],
        spots=["under the bed", "behind the door", "in the garden", "beside the bench in the park",
               "under the stairs", "behind the flower pots"],
        way=["down the street", "across the market", "past the bakery", "through the park"],
        sights=["The market was full of people.", "The street smelled of fresh bread.",
                "The bell of the clock tower rang.", "There were flowers at every window."]),
    "sea": dict(
        place="the beach", inside="by the sea",
        names=["the blue sea", "the wide sea", "the warm sea", "the deep green sea"],
        kinds="girl boy turtle seal dog puppy otter crab girl boy".split(),
        elders=["fisherman", "grandmother", "turtle", "seal"],
        homes=["in a little white house", "near a tall lighthouse", "in an old wooden boat", "behind the sand hills"],
        spots=["in a rock pool", "behind a hill of sand", "under an old boat", "beside a big shell",
               "between two rocks", "under the seaweed"],
        way=["along the beach", "over the rocks", "past the lighthouse", "down to the water"],
        sights=["The waves sang softly.", "The sand was warm and soft.",
                "Seagulls flew over the waves.", "The water was full of little lights."]),
    "snow": dict(
        place="the snow", inside="in the snow",
        names=["the land of snow", "the cold north", "a white valley", "the snowy mountains"],
        kinds="penguin seal bear fox rabbit owl girl boy".split(),
        elders=["owl", "bear", "grandfather", "seal"],
        homes=["in a round house of ice", "near a frozen lake", "in a warm cave", "under a snowy hill"],
        spots=["under the snow", "behind a block of ice", "next to the frozen lake", "behind a snowy tree",
               "inside a small cave", "on top of a snowy rock"],
        way=["through the snow", "over the ice", "around the frozen lake", "down the white hill"],
        sights=["The snow was soft and white.", "The ice shone like glass.",
                "Snowflakes danced in the wind.", "The sky was pale and blue."]),
    "jungle": dict(
        place="the jungle", inside="in the jungle",
        names=["a green jungle", "a warm jungle", "a deep jungle", "a jungle full of flowers"],
        kinds="lion elephant monkey tiger parrot zebra turtle frog".split(),
        elders=["elephant", "parrot", "turtle"],
        homes=["under a tall palm tree", "beside a big waterfall", "in a cave behind the flowers", "near a wide lake"],
        spots=["under a banana leaf", "behind a palm tree", "next to the waterfall", "in the tall grass",
               "between two big rocks", "under a pink flower"],
        way=["through the tall grass", "past the waterfall", "under the palm trees", "around the lake"],
        sights=["The air was warm and sweet.", "Pink birds stood in the lake.",
                "The flowers were as big as plates.", "Monkeys laughed in the trees."]),
    "castle": dict(
        place="the castle", inside="in the castle",
        names=["an old castle", "a tall castle", "a castle on a hill", "a grey castle"],
        kinds="dragon mouse cat owl princess prince knight wizard unicorn dragon".split(),
        elders=["queen", "king", "cook", "gardener"],
        homes=["at the top of the tower", "near the kitchen", "in a room full of books", "beside the rose garden"],
        spots=["behind the throne", "under the long table", "in the tower", "behind a red curtain",
               "next to the fireplace", "in the rose garden"],
        way=["up the stairs", "down the long hall", "through the great gate", "past the kitchen"],
        sights=["The candles shone on the walls.", "The flags danced in the wind.",
                "The kitchen smelled of cake.", "The roses were red and white."]),
}

ELDERS = {
    "owl": ("the old owl", "he"), "badger": ("the old badger", "he"), "bear": ("the big bear", "he"),
    "hedgehog": ("the old hedgehog", "she"), "turtle": ("the old turtle", "she"), "frog": ("the old frog", "he"),
    "beaver": ("the old beaver", "he"), "goat": ("the old goat", "she"), "mole": ("the old mole", "he"),
    "pony": ("the old pony", "she"), "farmer": ("the farmer", "he"), "grandmother": ("Grandmother", "she"),
    "grandfather": ("Grandfather", "he"), "baker": ("the baker", "he"), "gardener": ("the gardener", "she"),
    "teacher": ("the teacher", "she"), "fisherman": ("the fisherman", "he"), "seal": ("the old seal", "she"),
    "elephant": ("the old elephant", "she"), "parrot": ("the old parrot", "he"),
    "queen": ("the queen", "she"), "king": ("the king", "he"), "cook": ("the cook", "she"),
}

COLOURS = ["red", "blue", "yellow", "green", "golden", "silver", "white", "purple", "orange"]

THINGS = ["ball", "kite", "drum", "button", "boat", "bell", "hat", "scarf", "blanket", "lantern", "book",
          "cup", "ribbon", "basket", "umbrella", "whistle", "feather", "stone", "balloon", "flute", "box", "wagon"]

WEAR = {"hat", "scarf"}
BEDS = {"hat", "scarf", "blanket", "basket", "cup", "boat", "box", "wagon", "umbrella", "drum", "lantern"}

# ---------------------------------------------------------------- the template engine

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_FIELD = re.compile(r"\{(\w+)(?:\.(\w+))?\}")
_ARTICLE = re.compile(r"@ (\w{1,3})")


class Who:
    """A character: n name (N at the start of a sentence), k kind, ak with its adjective, he/him/his."""

    def __init__(self, name, kind, adj, gender):
        self.n, self.N, self.k, self.adj, self.gender = name, name[0].upper() + name[1:], kind, adj, gender
        self.he, self.him, self.his, self.himself = PRONOUNS[gender]
        self.He, self.His = self.he.capitalize(), self.his.capitalize()
        self.ak = adj + " " + kind
        if kind in KINDS:
            self.coat, self.foods = KINDS[kind]


class World:
    """Everything that must stay the same through one story."""

    def __init__(self, rng):
        self.rng = rng
        self.setting = rng.choice(sorted(SETTINGS))
        s = SETTINGS[self.setting]
        self.place, self.inside = s["place"], s["inside"]
        self.land = rng.choice(s["names"])
        self.home = rng.choice(s["homes"])
        self.spot, self.spot2, self.spot3, self.spot4 = rng.sample(s["spots"], 4)
        self.way, self.way2 = rng.sample(s["way"], 2)
        self.sight = rng.choice(s["sights"])
        self.h = self.person(rng.choice(s["kinds"]), set())
        self.f = self.person(rng.choice([k for k in s["kinds"] if k != self.h.k]), {self.h.n})
        elder, gender = ELDERS[rng.choice([e for e in s["elders"] if e not in (self.h.k, self.f.k)])]
        self.e = Who(elder, "", "", gender)
        self.colour = rng.choice(COLOURS)
        self.thing = rng.choice(THINGS)
        self.item = self.colour + " " + self.thing
        self.food = rng.choice(self.h.foods)
        self.ffood = rng.choice(self.f.foods)
        self.winter = self.setting == "snow" or rng.random() < 0.1 and self.setting != "jungle"
        self.day = rng.choice(["morning", "morning", "day", "afternoon"])

    def person(self, kind, taken):
        gender = GENDER.get(kind) or self.rng.choice(["she", "he"])
        name = self.rng.choice([n for n in NAMES[gender] if n not in taken])
        adj = self.rng.choice(ADJS)
        return Who(name, kind, adj, gender)

    def set(self, **kw):
        for k, v in kw.items():
            setattr(self, k, v)

    def pick(self, *alts):
        return self.rng.choice(alts)

    def maybe(self, p, text):
        return text if self.rng.random() < p else ""

    def _field(self, m):
        v = getattr(self, m.group(1))
        return getattr(v, m.group(2)) if m.group(2) else v

    def say(self, *sentences):
        """Expand templates and join them to one paragraph."""
        out = []
        for t in sentences:
            if not t:
                continue
            # Fields may hold choices and choices may hold fields: go on until none is left.
            while "[" in t or "{" in t:
                t = _CHOICE.sub(lambda m: self.rng.choice(m.group(1).split("|")), t)
                if "[" not in t:
                    t = _FIELD.sub(self._field, t)
            t = _ARTICLE.sub(lambda m: ("an " if m.group(1)[0] in "aeiou" and m.group(1) != "uni" else "a ") + m.group(1), t)
            t = re.sub(r"  +", " ", t).strip()
            if t:
                out.append(t)
        return " ".join(out)


# ---------------------------------------------------------------- beginnings and ends

def opening(w):
    """The first one to three sentences: who the hero is and where home is."""
    trait = w.pick(*TRAITS.get(w.h.adj, ["and {He} loved to play"])).replace("{He}", w.h.he)
    near = {"sea": "[by|near]", "river": "by", "farm": "on"}.get(w.setting, "in")
    w.set(near=w.say(near), trait=trait)
    Near = w.near.capitalize()
    o = w.pick(
        "Once upon a time, there was @ {h.ak} named {h.n}. {h.He} lived {home}.",
        "Once upon a time, there was @ {h.ak} named {h.n}. {h.He} lived {near} {land}.",
        "Once upon a time, there was @ {h.ak} called {h.n}. {h.n} lived {home}, {near} {land}.",
        "Once upon a time, @ {h.ak} named {h.n} lived {home}.",
        "Once upon a time, {near} {land}, there lived @ {h.ak} named {h.n}.",
        "Once upon a time, there was @ {h.k} named {h.n}. {h.He} was {h.adj}, {trait}.",
        "There was once @ {h.ak} [named|called] {h.n} who lived {near} {land}.",
        "The {h.ak} lived {home}. {h.His} name was {h.n}.",
        "The {h.ak} was called {h.n}. {h.He} lived {near} {land}.",
        Near + " {land} lived @ {h.k} named {h.n}. {h.He} was {h.adj}, {trait}.",
        Near + " {land}, there was @ {h.ak} [named|called] {h.n}.",
        "{h.n} was @ {h.ak}. {h.He} lived {home}, {near} {land}.",
        "Once upon a time there was @ {h.ak}. {h.His} name was {h.n}, and {h.he} lived {near} {land}.",
        "Once there was @ {h.ak} [named|called] {h.n} who lived {home}.",
        "This is the story of {h.n}, @ {h.ak} who lived {near} {land}.",
        "Do you know {h.n}? {h.n} was @ {h.ak} who lived {home}.",
        "{h.n} the {h.k} woke up and looked outside. {sight} {h.n} lived {home}, and {h.he} was @ {h.ak}.",
        "{h.n} was @ {h.ak} with {h.coat}. {h.He} lived {near} {land}.",
        "Once upon a time, there was @ {h.ak} with {h.coat}. {h.His} name was {h.n}.",
        "{h.n} the {h.k} lived {home}. {h.He} was {h.adj}, {trait}.",
        "Long ago, {near} {land}, there lived @ {h.k} [named|called] {h.n}. {h.He} was {h.adj}, {trait}.",
        "Far away, {near} {land}, lived @ {h.ak} named {h.n}.",
        "A long time ago, @ {h.ak} named {h.n} lived {home}.",
    )
    more = w.pick(
        "", "", "" if "{h.coat}" in o else "{h.n} had {h.coat} and a [warm|friendly|big|happy] smile.",
        "{h.He} loved {food} [very much|more than anything].",
        "[Every morning|Every day], {h.he} [went for a walk|said hello to the sun|sang a little song|ate {food}].",
        "{h.He} liked to [sing|dance|read|climb|dream|play|paint|run] [all day long|in the sun|with {h.his} friends|when it rained].",
        "" if "{sight}" in o else "{sight}",
    )
    if "{sight}" in o + more:
        o, w.sight = w.say(o, more), ""
        return o
    return w.say(o, more)


def friend(w):
    return w.pick(
        "{h.His} best friend was @ {f.k} named {f.n}.",
        "{h.His} best friend was {f.n}, @ {f.ak}.",
        "{h.n} had a good friend, @ {f.ak} named {f.n}.",
        "{h.n} and {f.n} the {f.k} were best friends.",
        "Next door lived {f.n}, @ {f.ak}.",
    )


def when(w):
    return w.pick(
        "One [sunny|bright|fine|quiet|windy] {day}", "One {day}", "One [winter {day}|cold {day}]" if w.winter else "One [spring|summer|autumn] {day}",
        "One day", "Early one morning", "On a [sunny|bright|fine|cool] {day}")


def ending(w, moral=None):
    """The last paragraph; it names what the plot taught, if anything."""
    close = w.pick(
        "That night, {h.n} [fell asleep|went to bed|slept] with a [big |happy |]smile.",
        "And that night, {h.n} had the [sweetest|happiest|best] dreams.",
        "[It|It really] was the best day of all.",
        "From that day on, {h.n} was [never sad again|the happiest {h.k} of all|a little braver every day].",
        "When the stars came out, {h.n} [was still smiling|was fast asleep|looked up and smiled].",
        "{h.n} smiled all the way home.",
        "{h.n} would never forget that day.",
        "The sun went down, and {h.n} was happy.",
        "", "")
    extra = w.maybe(0.12, "The end.")
    return w.say(moral or "", close, extra) or w.say("{h.n} was very happy.")


def ending2(w, moral=None):
    """As ending(), for a story that has a friend in it."""
    close = w.pick(
        "From that day on, {h.n} and {f.n} [were the best of friends|played together every day|did everything together].",
        "{h.n} and {f.n} [laughed|danced|sang|played] until the [sun went down|stars came out|moon was high].",
        "Then {h.n} and {f.n} [walked home together|went home for some {food}|shared some {food}].",
        "\"You are [my best friend|a true friend|the best friend in the world],\" said {h.n}. {f.n} smiled[ and hugged {h.him}|].",
        "\"[Thank you|Thank you, {f.n}],\" said {h.n}. \"[That is what friends are for|You would do the same for me|You are welcome],\" said {f.n}.",
        "The two friends [sat in the sun and were happy|looked at the stars for a long time|were happy together].")
    if w.rng.random() < 0.4:
        return ending(w, moral)
    return w.say(moral or "", close, w.maybe(0.1, "The end."))


SAD = "[sad|so sad|very sad]"
GLAD = "[happy|glad|so happy|very happy]"

# ---------------------------------------------------------------- plots

def plot_lost(w):
    """A loved thing is gone; the friend helps to look for it."""
    w.topic = ["a lost " + w.thing, "@ " + w.item, "a friend who helps"]
    p1 = w.say(opening(w), w.pick(
        "{h.n} had @ {item}. [{h.He} took it everywhere|It was a gift from {h.his} grandmother|{h.He} loved it very much|It was the best thing {h.he} had].",
        "The thing {h.he} loved most was {h.his} {item}.",
        "{h.He} had @ {item} [and took it everywhere|and never went out without it]."))
    p2 = w.say(when(w) + ", the {item} was gone. " + w.pick(
        "{h.n} looked {spot}. {h.He} looked {spot2}. But the {thing} was not there.",
        "{h.n} looked everywhere. {h.He} looked {spot} and {spot2}, but there was no {thing}.",
        "{h.n} looked {spot}, but [there was nothing there|{h.he} only found an old shoe|{h.he} only found a sleepy beetle|{h.he} only found some nuts]."),
        w.pick("\"Oh no!\" cried {h.n}. \"Where is my {thing}?\"",
               "\"Where can my {thing} be?\" {h.he} [asked|thought].",
               "{h.n} sat down and began to cry.",
               "{h.n} was " + SAD + ". \"I want my {thing} back,\" {h.he} said."))
    p3 = w.say(w.pick(
        "{f.n}, @ {f.ak}, [came by|heard {h.him}]. \"Why are you [so |]sad, {h.n}?\" asked {f.n}.",
        "Then {h.his} friend {f.n} the {f.k} came by. \"What is wrong?\" {f.he} asked.",
        "Just then, @ {f.ak} named {f.n} came {way}. \"What is the matter?\" asked {f.n}."),
        "\"I have lost my {item},\" said {h.n}.",
        w.pick("\"Don't worry,\" said {f.n}. \"[I will help you|We will find it together|Let us look together].\"",
               "\"Let us look [for it|for it together],\" said {f.n}. \"[Four eyes see more than two|Two friends can find anything|I am good at finding things].\"",
               "\"Do not cry,\" said {f.n}. \"[We will look for it together|I will help you to find it].\""))
    p4 = w.say(w.pick(
        "The two friends went {way} and looked {spot3}.",
        "So they went {way} together. They looked {spot3} and {spot4}.",
        "They looked {spot3}. They asked {e.n}, but {e.he} had not seen it."))
    ways = [
        "At last, {f.n} saw something {colour} {spot4}. \"[Look|Look there|There it is]!\" {f.he} cried. It was the {thing}!",
        "Suddenly, {h.n} saw something {colour} high up in a tree. The wind had taken the {thing}! {f.n} [shook the tree|climbed up|threw a pine cone], and down it came.",
        "Then {f.n} began to laugh. \"{h.n}, what is that behind you?\" {h.n} turned around. The {thing} had been there all the time!",
        "Then they met {e.n}. \"Is this your {thing}?\" {e.he} asked. \"I found it {spot4} and kept it safe for you.\"",
    ]
    if w.thing in WEAR:
        ways.append("Then {f.n} looked at {h.n} and began to laugh. \"You are wearing it!\" said {f.n}. And it was true. The {item} "
                    + ("was on {h.his} head" if w.thing == "hat" else "was around {h.his} neck") + " all the time!")
    if w.thing in BEDS:
        ways += ["At last, they found it {spot4}. But [a tiny ladybug|a baby bird|a little snail|a tiny mouse] was sleeping in it! "
                 "\"[Shh|Quiet],\" said {h.n}. \"[Let it sleep|We can wait until it wakes up|It needs a bed more than I do].\""] * 2
    p5 = w.say(w.pick(*ways))
    p6 = w.pick(
        ending2(w, w.pick("{h.n} was " + GLAD + ".", "{h.n} hugged the {thing} and then {h.he} hugged {f.n}.",
                          "\"Thank you for your help,\" said {h.n}.", "\"We did it!\" said {h.n}.")),
        ending2(w, "{h.n} learned that [a good friend is worth more than any {thing}|it is easier to look together|friends always help]."))
    if w.rng.random() < 0.5:
        return [p1, p2, p3, p4 + " " + p5, p6]
    return [p1, p2, p3, p4, p5, p6]


TROUBLES = [
    # creature, what is wrong, what it says, what the hero does
    ("bird", "had fallen out of its nest", "I cannot fly yet", "{h.n} picked it up very gently and put it back in the nest"),
    ("turtle", "was lying on its back", "I cannot turn over", "{h.n} pushed and pushed until it was on its feet again"),
    ("bee", "had fallen into the water", "My wings are wet", "{h.n} held out a leaf, and the bee climbed onto it"),
    ("ant", "had fallen into the water", "I cannot swim", "{h.n} threw a leaf into the water, and the ant climbed onto it"),
    ("butterfly", "was caught in a spider web", "I cannot get out", "{h.n} opened the web very carefully"),
    ("snail", "was sitting in the hot sun", "I am too hot, and I am so slow", "{h.n} carried it to a cool wet leaf"),
    ("lizard", "was caught under a stone", "My tail is stuck", "{h.n} lifted the stone with all {h.his} strength"),
    ("crow", "had a thorn in its foot", "It hurts when I walk", "{h.n} pulled out the thorn, very slowly"),
    ("beetle", "was stuck in the mud", "The mud is too deep", "{h.n} took a stick and pulled the beetle out"),
    ("goose", "could not find its way", "I have lost my family", "{h.n} climbed on a rock, looked around and saw the other geese"),
    ("duckling", "was lost and alone", "I cannot find my mother", "{h.n} took it along the water until they heard a loud quack"),
    ("caterpillar", "was very hungry", "I cannot find any leaves", "{h.n} brought it the biggest green leaf of all"),
]

PAYBACK = {
    "bird": "flew up high and saw the way home", "turtle": "knew the way and went first",
    "bee": "knew every flower and every path", "ant": "called all the other ants, and they made a long line that led home",
    "butterfly": "flew in front and showed the way", "snail": "left a silver line on the ground that led home",
    "lizard": "ran ahead and found the path", "crow": "flew up and saw the way home",
    "beetle": "shone like a little lamp and showed the way", "goose": "flew up high and saw the way home",
    "duckling": "called its mother, and she knew the way", "caterpillar": "was now a butterfly, and it flew in front",
}


def plot_help(w):
    """The hero helps a small creature, which pays it back."""
    c, wrong, saying, deed = w.pick(*[t for t in TROUBLES if t[0] != w.h.k])
    w.set(c=c, wrong=wrong, saying=saying, deed=deed, pay=PAYBACK[c])
    w.topic = ["@ " + c, "helping others", "a kind " + w.h.k]
    p1 = opening(w)
    p2 = w.say(when(w) + w.pick(
        ", {h.n} was walking {way} when {h.he} heard a small voice. \"Help! Help!\"",
        ", {h.n} went {way}. {sight} Then {h.he} heard someone crying.",
        ", {h.n} was on {h.his} way to {e.n} when {h.he} heard a tiny sound."),
        w.pick("It was @ {c}. It {wrong}.", "A [small|little|tiny] {c} {wrong}.",
               "{h.n} looked {spot} and saw @ {c}. It {wrong}."))
    p3 = w.say(w.pick("\"[Please help me|Oh, please help me|Help me]!\" said the {c}. \"{saying}.\"",
                      "\"What is wrong?\" asked {h.n}. \"{saying},\" said the {c}.",
                      "\"{saying}!\" cried the {c}."),
               w.pick("\"[Don't be afraid|Don't worry|Wait],\" said {h.n}. \"I will help you.\"",
                      "\"Poor little {c},\" said {h.n}.", "{h.n} did not think for long."),
               "{deed}.",
               w.pick("\"[Thank you|Thank you so much]!\" said the {c}. \"[One day I will help you too|I will never forget this|You are very kind].\"",
                      "\"You saved me!\" said the {c}. \"Now we are friends.\""))
    if w.rng.random() < 0.55:
        p4 = w.say("[A few days later|A week later|Some time later|The next day], "
                   "{h.n} [went too far|lost the path|got lost in the fog|could not find the way home]. It was getting dark, and {h.he} was [afraid|a little afraid|cold and tired].",
                   "Then {h.he} heard a voice. \"[Hello, {h.n}|Don't cry|Don't be afraid]!\" ",
                   "It was the {c}! The {c} {pay}.")
        p5 = ending(w, w.pick("\"Now you have helped me,\" said {h.n}. \"[Thank you, my friend|Thank you, little {c}].\"",
                              "Soon {h.n} was safe at home.",
                              "{h.n} learned that [even a small friend can be a big help|a kind deed always comes back|nobody is too small to help]."))
    else:
        p4 = w.say(w.pick("From then on, the {c} came to see {h.n} every day.",
                          "The {c} stayed for a while, and they talked about [the sun and the rain|many things|the sky and the sea].",
                          "{h.n} gave the {c} some {food}, and they ate together."),
                   w.pick("They [told each other stories|sang funny songs|watched the clouds|played hide and seek].", ""))
        p5 = ending(w, w.pick("{h.n} told {e.n} about it. \"You have a good heart,\" said {e.n}.",
                              "It feels good to help, thought {h.n}.", "{h.n} had a new friend."))
    return [p1, p2, p3, p4, p5]


SKILLS = [
    # to do it, failure, advice, success
    ("swim", "But {h.he} only splashed, and water went up {h.his} nose", "Breathe slowly, and let the water carry you", "{h.he} swam from one side to the other"),
    ("whistle", "But only air came out", "Make your mouth small and round, like an o", "a clear, long whistle came out"),
    ("fly a kite", "But the kite fell down again and again", "Wait for the wind, and then run", "the kite flew up, higher than the trees"),
    ("bake bread", "But the bread was as hard as a stone", "Give it time to rise, and do not hurry", "the bread was soft and golden"),
    ("dance", "But {h.his} feet did not do what {h.he} wanted", "Listen to the music first, and then move", "{h.he} danced around and around"),
    ("count to ten", "But after five came nothing at all", "Count slowly, and use small stones", "{h.he} counted all the way to ten"),
    ("climb a tree", "But {h.he} slid down again every time", "Look up, not down, and hold on tight", "{h.he} sat on the highest branch"),
    ("paint", "But the picture was only a big brown spot", "Look at a thing for a long time before you paint it", "{h.he} painted a flower that looked real"),
    ("play the drum", "But it only made a terrible noise", "Listen to your heart, and play like that", "everybody began to dance"),
    ("sing", "But {h.his} voice was very small", "Sing for someone you love", "{h.his} song was so sweet that the birds grew quiet"),
    ("read", "But the letters danced before {h.his} eyes", "Read one word at a time", "{h.he} read a whole page"),
    ("knit a scarf", "But there was a big hole in the middle", "Start again, and do not pull so hard", "the scarf was long and warm"),
    ("skip stones", "But every stone fell into the water with a plop", "Take a flat stone, and throw it low", "the stone jumped five times"),
    ("tell a joke", "But nobody laughed", "Laugh first, and the others will laugh too", "everybody laughed until they cried"),
]


def plot_learn(w):
    """The hero wants to learn something, fails, gets advice, practises, can do it."""
    skill, fail, tip, win = w.pick(*SKILLS)
    w.set(skill=skill, fail=fail, tip=tip, win=win)
    w.topic = ["learning to " + skill, "never giving up"]
    helper = w.rng.random() < 0.5
    who = "f" if helper else "e"
    w.set(t=getattr(w, who))
    p1 = w.say(opening(w), w.pick("More than anything, {h.n} wanted to {skill}.",
                                  "There was one thing {h.he} could not do. {h.n} could not {skill}.",
                                  "{h.n} had a dream. {h.He} wanted to {skill}."))
    p2 = w.say(when(w) + ", {h.n} tried[ for the first time| it]. {fail}.",
               w.pick("\"It is too hard,\" said {h.n}. \"I will never [learn it|be able to do it].\"",
                      "{h.n} tried again. It was no better.", "\"[I give up|I can't do it]!\" {h.he} cried.",
                      "{h.n} sat down and was " + SAD + "."))
    if helper:
        p3 = w.say(w.pick("{f.n}, @ {f.ak}, had seen it all.", "Then {f.n} the {f.k} came {way}.",
                          "{h.His} friend {f.n} the {f.k} sat down next to {h.him}."),
                   w.pick("\"I could not do it at first,\" said {f.n}.", "\"Don't give up,\" said {f.n}.", "\"May I show you?\" asked {f.n}.",
                          "\"Everybody can learn to {skill},\" said {f.n}."), "\"{tip}.\"")
    else:
        p3 = w.say(w.pick("So {h.he} went to {e.n}. \"How can I learn to {skill}?\" asked {h.n}.",
                          "{e.N} had seen it all. \"Come here, {h.n},\" {e.he} said.",
                          "{h.n} told {e.n} about it."),
                   w.pick("\"It is not hard,\" said {e.n}. \"{tip}.\"", "{e.N} smiled. \"{tip},\" {e.he} said.",
                          "\"I will tell you a secret,\" said {e.n}. \"{tip}.\""))
    p4 = w.say(w.pick("{h.n} tried again. And again. And again.", "So {h.n} tried [every day|day after day|morning and evening].",
                      "{h.n} nodded and tried [once more|one more time]. It was a little better. {h.He} tried again.",
                      "The next day, {h.n} tried again, and the day after that, too."),
               w.pick("[Then one day|And then|At last], {win}!", "It took a long time. But in the end, {win}!"),
               w.pick("\"[I can do it|I did it|Look, I can do it]!\" cried {h.n}.", "\"[Well done|Bravo|I knew you could do it]!\" said {t.n}.", ""))
    moral = w.pick("{h.n} learned that you should never give up.", "\"You only have to try [again|one more time],\" said {t.n}.",
                   "Now {h.n} shows all the little ones how to {skill}.", "{h.n} was proud[ and happy|].", "")
    return [p1, p2, p3, p4, ending2(w, moral) if helper else ending(w, moral)]


def plot_rain(w):
    """A trip is spoiled by the weather and turns out well."""
    w.topic = ["a rainy day", "a picnic", "a rainbow"]
    w.winter = False
    w.set(plan=w.pick("a picnic", "a long walk", "a trip to the hill", "a party outside"))
    p1 = w.say(opening(w), friend(w))
    p2 = w.say(when(w) + ", {h.n} and {f.n} [planned|wanted to have|got ready for] {plan}. "
               "{h.n} [brought|took|packed] {food}, and {f.n} [brought|took|packed] {ffood}.",
               w.pick("\"This will be the best day ever,\" said {f.n}.", "They sang as they went {way}.", "{sight}",
                      "\"Are you ready?\" asked {h.n}. \"Ready!\" said {f.n}."))
    p3 = w.say(w.pick("But then [a big dark cloud came|the sky grew dark|the sun went away]. Drip, drop, drip! It began to rain.",
                      "But soon the wind began to blow, and it started to rain.",
                      "Suddenly there was a loud boom. \"Thunder!\" cried {f.n}. Then the rain came down."),
               w.pick("\"Oh no!\" said {h.n}. \"[Our day is spoiled|Now we are all wet|We have to go home]!\"",
                      "\"Quick, let us run!\" cried {h.n}.", "{f.n} was " + SAD + "."))
    p4 = w.say(w.pick("They ran and hid {spot}. It was [small but dry|dark but dry|a good place to wait].",
                      "They [found|saw] a big umbrella {spot} and sat under it.",
                      "{e.N} saw them and called, \"Come in, come in! It is warm and dry in here.\""),
               w.pick("There they ate the {food} and told each other [funny stories|riddles|secrets].",
                      "\"We can have our {meal} here,\" said {f.n}. And so they did.",
                      "They listened to the rain. It sounded like [music|a song|tiny drums]."))
    p5 = w.say(w.pick("[At last|After a while|Then] the rain stopped, and [a rainbow shone in the sky|there was a rainbow over {place}|a big rainbow came out].",
                      "Then the sun came back. There were puddles everywhere! {h.n} jumped into the first one. Splash!"),
               w.pick("\"How beautiful!\" said {h.n}.", "\"Look!\" cried {f.n}.",
                      "\"[I like rainy days|The rain was a gift],\" said {f.n}."))
    moral = w.pick("{h.n} learned that [a rainy day can be a good day|the best days are not always sunny|with a friend, every day is a good day].", "", "")
    return [p1, p2, p3, p4, p5, ending2(w, moral)]


def plot_share(w):
    """Two friends want the same thing and learn to share."""
    w.topic = ["sharing", "two friends", "@ " + w.item]
    p1 = w.say(opening(w), friend(w))
    p2 = w.say(when(w) + ", they [found|saw] @ {item} {spot}.",
               w.pick("\"It is mine!\" said {h.n}. \"I saw it first.\"", "\"[I want it|Give it to me]!\" said {h.n}."),
               w.pick("\"No, it is mine!\" said {f.n}. \"I picked it up.\"", "\"No, I want it!\" cried {f.n}."),
               w.pick("They pulled and pulled, and then both of them fell [down|over|into the mud].",
                      "They were so angry that they did not speak [any more|to each other all day].",
                      "{h.n} pulled on one side, and {f.n} pulled on the other."))
    p3 = w.say(w.pick("{e.N} heard the noise. \"[What is going on here|Why are you so loud|Why are you so angry]?\" {e.he} asked.",
                      "Then {e.n} came by and shook {e.his} head."),
               w.pick("\"[Is @ {thing} worth more than a friend|What is more fun, one {thing} or one friend]?\" asked {e.n}.",
                      "\"[It is big enough for two|You can both have it|You can take turns],\" said {e.n}.",
                      "\"It is no fun to have @ {thing} if you are alone,\" said {e.n}."))
    p4 = w.say(w.pick("{h.n} looked at {h.his} feet. \"I am sorry, {f.n},\" {h.he} said.", "{h.n} and {f.n} looked at each other. \"I am sorry,\" they said.",
                      "{f.n} was quiet for a moment. \"I am sorry, {h.n},\" said {f.n}."),
               w.pick("\"You can have it today, and I will have it tomorrow.\"", "\"Let us share it.\"", "\"You take it first.\""),
               w.pick("And so they played with the {thing} together.", "They took turns, and nobody was angry any more.", "Then they played together, and it was much more fun."))
    moral = w.pick("{h.n} learned that [sharing makes everything better|a friend is the best thing you can find|it is good to share].", "", "")
    return [p1, p2, p3, p4, ending2(w, moral)]


NOISES = [
    ("tap, tap, tap", "a branch that knocked on the window", None),
    ("scratch, scratch", "a tiny mouse that was looking for crumbs", "mouse"),
    ("hoo, hoo", "a baby owl that was looking for its mother", "owl"),
    ("whoosh, whoosh", "the wind that was playing with the leaves", None),
    ("creak, creak", "the old door that moved in the wind", None),
    ("sniff, sniff", "a lost puppy with a cold nose", "puppy"),
    ("plop, plop", "water that dropped from a leaf", None),
    ("ribbit, ribbit", "a green frog that was singing to the moon", "frog"),
    ("crunch, crunch", "a hedgehog that was eating an apple", "hedgehog"),
    ("meow, meow", "a kitten that wanted to come in", "kitten"),
]


def plot_fear(w):
    """A noise in the night turns out to be harmless."""
    noise, source, creature = w.pick(*[n for n in NOISES if n[2] not in (w.h.k, w.f.k)])
    w.set(noise=noise, source=source, creature=creature or "", Noise=noise.capitalize())
    w.topic = ["the dark", "a noise in the night", "being brave"]
    p1 = w.say(opening(w), w.pick("But there was one thing: {h.n} was afraid of the dark.",
                                  "{h.n} was brave by day, but not at night." , ""))
    p2 = w.say(w.pick("One [dark|cold|stormy|windy] night, {h.n} was lying in bed. {h.He} heard a noise.",
                      "One night, {h.n} could not sleep. There was a strange sound.",
                      "One evening, when the moon was high, {h.n} heard something outside."),
               w.pick("\"{Noise}!\" it went.", "{Noise}! {Noise}!"),
               w.pick("\"[Who is there|What is that]?\" [asked|whispered] {h.n}. Nobody answered.",
                      "{h.n} [pulled the blanket over {h.his} head|held {h.his} breath|hid under the bed]. {h.His} heart was beating fast.",
                      "\"It must be a [monster|ghost|giant]!\" thought {h.n}."))
    withf = w.rng.random() < 0.5
    if withf:
        p3 = w.say("{h.n} ran to {f.n} the {f.k}. \"There is a [monster|ghost|giant] outside!\" {h.he} said.",
                   w.pick("\"Let us look together,\" said {f.n}.", "\"I will come with you,\" said {f.n}. \"Then we are two.\"",
                          "\"I am afraid, too,\" said {f.n}. \"But together we are brave.\""),
                   "They took a [lamp|lantern|candle] and went out.")
        p4 = w.say("\"{Noise}!\" They [came|went] closer and closer. They looked {spot}. And what did they see? It was only {source}!")
    else:
        p3 = w.say(w.pick("\"I must be brave,\" {h.he} [said|thought].", "Then {h.n} took a deep breath. \"I want to know what it is,\" {h.he} said.",
                          "{h.n} counted to three. One, two, three!"),
                   "{h.He} took a [lamp|lantern|candle] and [went out|opened the door].")
        p4 = w.say("\"{Noise}!\" {h.n} [came|went] closer and closer. {h.He} looked {spot}. And what did {h.he} see? It was only {source}!")
    if creature:
        p4 += " " + w.say(w.pick("\"I am sorry,\" said the {creature}. \"I did not want to wake you.\"",
                                 "\"Were you afraid of me?\" asked the {creature}. \"I was afraid of you!\"",
                                 "\"Hello,\" said the {creature}. \"Do you want to be my friend?\""),
                          w.pick("{h.n} [laughed|began to laugh]. \"[You are not a monster|You are so small|Come in and have some {food}]!\" {h.he} said.",
                                 "{h.n} gave the {creature} some {food}."))
    else:
        p4 += " " + w.say(w.pick("{h.n} [laughed|began to laugh|laughed and laughed]. \"[What a silly thing to be afraid of|I was afraid of nothing]!\" {h.he} said.",
                                 "\"[So that was all|And I was so afraid]!\" said {h.n}."))
    moral = w.pick("Now {h.n} knew that [the dark is only the day asleep|most monsters are very small|it is good to look twice].",
                   "After that, {h.n} was not afraid of the dark any more.", "Then {h.n} went back to bed.")
    return [p1, p2, p3, p4, ending2(w, moral) if withf else ending(w, moral)]


GIFTS = [
    ("a crown of flowers", "picked flowers", "It smells so sweet"), ("a necklace of shells", "found little shells", "It shines like the sea"),
    ("a cake", "mixed flour and honey", "It is the best cake in the world"), ("a picture", "took paper and paint", "It is me and you"),
    ("a song", "thought of words and a tune", "Nobody ever made a song for me"), ("a warm scarf", "took some soft wool", "It is as soft as a cloud"),
    ("a wooden boat", "took some wood and a leaf", "It can really float"), ("a paper star", "took some golden paper", "It shines like a real star"),
    ("a flute", "cut a reed from the river", "What a sweet sound"), ("a lantern", "put a candle into a glass", "Now I will never be afraid at night"),
]


def plot_gift(w):
    """A birthday; the hero has no money and makes a gift."""
    gift, start, thanks = w.pick(*GIFTS)
    w.set(gift=gift, start=start, thanks=thanks, giftn=gift.split()[-1])
    if gift == "a crown of flowers":
        w.giftn = "crown"
    if gift == "a necklace of shells":
        w.giftn = "necklace"
    w.topic = ["a birthday", "a gift", gift]
    p1 = w.say(opening(w), friend(w))
    p2 = w.say(w.pick("Soon it was {f.n}'s birthday. \"What can I give {f.him}?\" thought {h.n}.",
                      "\"Tomorrow is {f.n}'s birthday,\" thought {h.n}. \"I need a gift.\"",
                      "One day, {f.n} said, \"Tomorrow is my birthday!\" {h.n} wanted to give {f.him} something special."),
               w.pick("But {h.n} had no money.", "{h.He} looked {spot} and {spot2}, but {h.he} found nothing good.",
                      "{h.He} thought and thought.", "{h.He} went to {e.n}. \"The best gifts come from the heart,\" said {e.n}."))
    p3 = w.say(w.pick("Then {h.n} had an idea. \"I will make {gift}!\" {h.he} said.", "\"I know!\" said {h.n}. \"I can make {gift}.\""),
               "{h.He} {start} and [worked all day|worked until the moon came up|worked very hard|began to work].",
               w.pick("It was not easy, but {h.he} did not stop.", "At first it went wrong, and {h.he} had to start again.", "{h.He} sang while {h.he} worked.",
                      "In the evening, the {giftn} was ready."))
    p4 = w.say(w.pick("The next morning, {h.n} went to {f.n}'s house. \"Happy birthday!\" {h.he} said.",
                      "On the birthday, all the friends came. {h.n} was a little shy. \"This is for you,\" {h.he} said."),
               w.pick("{f.n}'s eyes grew big. \"{thanks}!\" {f.he} said.", "\"For me?\" asked {f.n}. \"Oh, {h.n}! {thanks}!\"",
                      "{f.n} was quiet for a moment. Then {f.he} hugged {h.n}. \"{thanks},\" said {f.n}."),
               w.pick("\"[It is the best gift of all|I will keep it for ever|I love it].\"", ""))
    moral = w.pick("{h.n} learned that [the best gifts are made with love|a gift does not need money].", "Then they all ate {food} and danced.", "")
    return [p1, p2, p3, p4, ending2(w, moral)]


FINDS = [
    ("key", "a little door in a hill", "Behind the door was a [room|garden] full of [books|flowers|stars|music]"),
    ("map", "a red cross", "Under the cross was a box, and in the box were [a hundred marbles|old letters|seeds of every colour]"),
    ("egg", "a warm place by the fire", "Crack! Out came [a tiny dragon|a little bird|a baby turtle]"),
    ("feather", "the top of a tall tree", "There sat a big white bird, and it told {h.him} [stories of far lands|about the sea]"),
    ("bottle with a letter in it", "a small island", "There lived an old [sailor|woman|parrot] who had waited a long time for a visitor"),
    ("lamp", "a dark cave", "The walls of the cave were full of [shining stones|old pictures|sleeping stars]"),
    ("seashell", "the deep blue water", "A big old whale was singing there, and {h.n} sang along"),
    ("bell", "an old tower", "When {h.he} rang the bell, [all the birds came|a hundred doves flew up|everybody came to dance]"),
]


def plot_find(w):
    """The hero finds something strange and follows where it leads."""
    find, lead, wonder = w.pick(*FINDS)
    short = find.split()[0]
    w.set(find=find, lead=lead, wonder=wonder, fcol=w.pick("golden", "silver", "strange", "tiny", "shiny", "blue"))
    w.set(short=short)
    w.topic = ["@ " + short, "an adventure", "a secret"]
    withf = w.rng.random() < 0.6
    p1 = w.say(opening(w), friend(w) if withf else "")
    p2 = w.say(when(w) + w.pick(", {h.n} was playing {inside} when {h.he} found @ {fcol} {find}.",
                                ", {h.n} saw something {spot}. It was @ {fcol} {find}.",
                                ", {h.n} went {way} and stopped. There, {spot}, was @ {fcol} {find}!"),
               w.pick("\"[What is this|Where does it come from]?\" {h.he} [asked|said].", "\"I have never seen [anything like it|such a thing],\" {h.he} said.",
                      "{h.n} picked it up very carefully."))
    if find == "egg":
        mid = w.pick("\"It needs to be warm,\" said {e.n}. So {h.n} carried the egg home and put it in a warm place by the fire.",
                     "The egg was cold, so {h.n} wrapped it in a blanket. {h.He} sat next to it all night.")
    else:
        mid = w.pick("{h.n} showed it to {e.n}. \"I know this {short},\" said {e.n}. \"It " + ("opens" if find == "key" else "comes from") + " {lead}.\" So {h.n} went {way} to look for it.",
                     "\"Follow the path, and you will come to {lead},\" said {e.n}. So {h.n} went {way} and {way2}.",
                     "{h.n} went {way} and {way2}, and came to {lead}.")
        if find == "map":
            mid = w.pick("On the map there was {lead}. {h.n} went {way} and {way2} until {h.he} came to the place.",
                         "{h.n} looked at the map. It showed {lead}, not far away.")
    p3 = w.say(w.pick("{h.n} ran to {f.n}. \"Look what I have found!\" {h.he} cried.",
                                   "\"Come with me, {f.n},\" said {h.n}. \"We will find out together.\"",
                      "\"What is it?\" asked {f.n}. \"I don't know,\" said {h.n}. \"Let us find out.\"") if withf else "",
               mid, w.pick("{h.His} heart was beating fast.", "\"[I am a little afraid|This is an adventure],\" said {h.n}.", ""))
    if find == "egg":
        p4 = w.say("[In the morning|After three days|When the moon came up], the egg began to move. {wonder}!",
                   w.pick("\"[Hello, little one|Welcome to the world],\" [said|whispered] {h.n}.", "It looked at {h.n} and smiled."))
    else:
        p4 = w.say(w.pick("And what did {h.he} see?", "Then {h.n} opened {h.his} eyes wide.", "It was very quiet.", ""), "{wonder}.",
                   w.pick("\"[How wonderful|What a wonder|What a surprise]!\" said {h.n}.", "{h.n} had never been so happy.", "{h.n} stayed there until evening."))
    moral = w.pick("\"This is our secret,\" said {h.n}." if withf else "\"This is my secret,\" thought {h.n}.",
                   "{h.n} often went back there." if find != "egg" else "{h.n} took good care of it.",
                   "The world is full of wonders, thought {h.n}.")
    return [p1, p2, p3, p4, ending2(w, moral) if withf else ending(w, moral)]


PLANTS = [("sunflower", "It was taller than the house", "seeds for the birds and flowers for the table"), ("apple tree", "It was full of red apples", "apples for eating and apples for pies"),
          ("pumpkin", "It was as big as a wagon", "soup, bread and cake"), ("rose", "It was red and smelled sweet", "one flower for every friend"),
          ("strawberry plant", "It was full of sweet red berries", "a basket of berries for every friend"), ("bean", "It was so high that it touched the clouds", "beans for the whole winter")]


def plot_grow(w):
    """A seed needs patience."""
    plant, big, gift = w.pick(*PLANTS)
    w.set(plant=plant, big=big, pgift=gift)
    w.topic = ["a seed", "@ " + plant, "a garden"]
    w.winter = False
    p1 = opening(w)
    p2 = w.say(when(w) + w.pick(", {h.n} found a tiny seed {spot}.", ", {e.n} gave {h.n} a tiny seed.", ", {h.n} was given a small brown seed."),
               w.pick("\"What will it be?\" asked {h.n}.", "\"It is so small,\" said {h.n}. \"Can it really grow?\"",
                      "\"Plant it, and wait,\" said {e.n}."),
               "{h.He} [put it into the ground|made a hole in the ground and put the seed in] and gave it some water.")
    p3 = w.say(w.pick("The next day, {h.n} ran outside. There was nothing to see.", "{h.n} waited one day. {h.He} waited two days. Nothing happened.",
                      "Every morning, {h.n} looked at the ground. But nothing was there."),
               w.pick("\"Perhaps it is asleep,\" said {f.n} the {f.k}. \"Sing to it.\" So {h.n} sang to the seed every day.",
                      "\"Grow, little seed,\" {h.he} said. \"Please grow.\"",
                      "\"You have to wait,\" said {e.n}. \"Good things take time.\"",
                      "\"It will never grow,\" said {f.n} the {f.k}. But {h.n} did not give up."))
    p4 = w.say(w.pick("The rain came, and then the sun came. And one morning, there was a tiny green leaf!", "Then, after a warm rain, something green looked out of the ground."),
               w.pick("\"[Hello, little plant|Look, it is growing]!\" cried {h.n}.", "{h.n} danced around it.", "{h.n} could not believe {h.his} eyes."),
               "[Day by day|Week after week|All summer long], it grew and grew. It was @ {plant}! {big}.")
    p5 = ending(w, w.pick("There was enough for everybody: {pgift}.",
                          "{h.n} shared it with all {h.his} friends.", "{h.n} learned to wait, and that is a hard thing to learn.",
                          "\"Good things take time,\" said {h.n}."))
    return [p1, p2, p3, p4, p5]


def plot_truth(w):
    """Something is broken; the hero tells the truth."""
    w.set(pot=w.pick("blue cup", "glass vase", "flower pot", "big mirror", "old clock", "white plate", "window", "music box"))
    w.set(potn=w.pot.split()[-1])
    w.topic = ["telling the truth", "a broken " + w.pot.split()[-1]]
    p1 = opening(w)
    p2 = w.say(when(w) + w.pick(", {h.n} was playing with a ball. It flew too high, and crash! It broke {e.n}'s {pot}.",
                                ", {h.n} was running and did not look. Crash! {e.N}'s {pot} fell down and broke.",
                                ", {h.n} was dancing with {f.n} the {f.k}. Bump! Crash! {e.N}'s {pot} was broken."),
               w.pick("\"Oh no!\" whispered {h.n}. \"What have I done?\"", "{h.n} looked at the pieces and felt cold.", "{h.His} heart was beating fast."))
    p3 = w.say(w.pick("{h.n} hid the pieces {spot}. But {h.he} could not eat, and {h.he} could not play.",
                      "\"Nobody saw it,\" {h.he} thought. \"I will say nothing.\" But {h.his} tummy hurt.",
                      "\"I could say that it was the wind,\" thought {h.n}. But that was not true."),
               w.pick("All night, {h.n} thought about it.", "\"You should tell the truth,\" said {f.n} the {f.k}. \"Then you will feel better.\"",
                      "The sun was shining, but {h.n} was not happy."))
    p4 = w.say(w.pick("[At last|The next morning|In the end], {h.n} went to {e.n}. \"[I broke your {potn}|It was me who broke your {potn}],\" {h.he} said. \"I am [so |very |]sorry.\"",
                      "So {h.n} took a deep breath and told {e.n} everything."),
               w.pick("{e.N} looked at {h.him} for a long time. Then {e.he} smiled.", "{e.N} was not angry."),
               w.pick("\"Thank you for telling me,\" {e.he} said. \"[That was brave|It was only a {potn}|The truth is worth more than a {potn}].\"",
                      "\"Everybody breaks something [one day|sometimes],\" {e.he} said. \"[Come, we will mend it together|Let us mend it].\""))
    p5 = ending(w, w.pick("{h.n} felt [light again|as light as a feather].", "{h.n} learned that [the truth is not so hard|it is good to tell the truth].",
                          "Together they mended it with glue. It looked almost like new."))
    return [p1, p2, p3, p4, p5]


def plot_race(w):
    """A race, in which winning is not what matters."""
    w.set(c=w.pick("snail", "little mouse", "small bird", "baby rabbit", "young frog", "beetle"))
    w.topic = ["a race", "winning and losing"]
    p1 = w.say(opening(w), friend(w))
    p2 = w.say(when(w) + ", there was a [big |]race {inside}. [Everybody came|Everybody wanted to win|The winner would get a golden cup].",
               w.pick("\"I will win,\" said {f.n}. \"I am the fastest.\"", "\"I can run faster than the wind,\" said {f.n}.",
                      "\"I am not very fast,\" said {h.n}, \"but I will try.\""),
               "\"[Ready|On your marks]? One, two, three, go!\" [called|cried] {e.n}.")
    p3 = w.say("{f.n} and {h.n} went {way}. {f.n} was in front." if w.rng.random() < 0.5 else "They went {way}. {h.n} was in front, and {f.n} was right behind {h.him}.")
    kind = w.rng.randrange(3)
    if kind == 0:
        p3 += " " + w.say("Then {h.n} heard a small voice. A {c} had fallen [into a hole|into the water|down] and was crying.",
                          "{h.n} stopped at once. \"[Are you hurt?|Don't cry,|Poor little one,]\" {h.he} said, and helped the {c} up.")
        p4 = w.say("When {h.n} came to the end, {f.n} had won the race.",
                   w.pick("\"Why are you so late?\" asked {f.n}. {h.n} told {f.him} about the {c}.", "But the {c} told everybody what had happened."),
                   w.pick("\"Then you are the real winner,\" said {f.n}, and gave {h.him} the cup.", "\"A good heart is faster than fast legs,\" said {e.n}.",
                          "Everybody clapped for {h.n}."))
    elif kind == 1:
        p3 += " " + w.say("But {f.n} was so sure of winning that {f.he} [sat down to rest|stopped to eat some {ffood}|lay down for a nap].",
                          "{h.n} did not stop. Step by step, {h.he} went on.")
        p4 = w.say("When {f.n} [woke up|looked up], {h.n} was already at the end. {h.n} had won!",
                   w.pick("\"How did you do it?\" asked {f.n}. \"I just did not stop,\" said {h.n}.", "Everybody clapped and cheered.",
                          "\"Well done,\" said {f.n}, and {f.he} meant it."))
    else:
        p3 += " " + w.say("Then {f.n} fell and hurt {f.his} foot. \"Go on without me!\" {f.he} said.",
                          "\"No,\" said {h.n}. \"[I will not leave you|We go together or not at all].\"")
        p4 = w.say("{h.n} helped {f.n} up, and they walked on [slowly|together], side by side. They were the very last.",
                   w.pick("But everybody clapped for them.", "\"You have won something better than a race,\" said {e.n}."))
    moral = w.pick("{h.n} learned that winning is not everything." if kind != 1 else "{h.n} learned that slow and steady is good, too.",
                   "")
    return [p1, p2, p3, p4, ending2(w, moral)]


def plot_wander(w):
    """The hero gets lost, asks three for the way and comes home."""
    w.topic = ["getting lost", "the way home", "a long walk"]
    asks = w.rng.sample([("busy bee", "Follow the flowers"), ("green frog", "Follow the water"), ("grey squirrel", "Go left at the old oak"),
                         ("sleepy snail", "Go slowly, and you will find it"), ("white goose", "Follow the sun"), ("black crow", "Go over the hill"),
                         ("shy deer", "Follow the small white stones"), ("tiny ant", "Go straight ahead"), ("yellow butterfly", "Go where the wind goes")], 2)
    w.set(a=asks[0][0], at=asks[0][1], b=asks[1][0], bt=asks[1][1])
    w.set(lure=w.pick("a blue butterfly", "a strange sound", "a shiny green beetle", "a floating feather", "a white rabbit", "the smell of flowers"))
    p1 = opening(w)
    p2 = w.say(when(w) + ", {h.n} followed {lure}.",
               "{h.He} went {way} and {way2}.",
               w.pick("Then {h.he} stopped. \"Where am I?\" {h.he} asked.", "When {h.n} looked around, nothing looked the same.",
                      "After a while, {h.n} did not know the way [back|home] any more."),
               w.pick("{h.n} was lost!", "\"I want to go home,\" said {h.n}."))
    p3 = w.say(w.pick("{h.He} met a {a}. \"Can you tell me the way home?\" asked {h.n}. \"{at},\" said the {a}.",
                      "\"Excuse me,\" {h.he} said to a {a}. \"Where is my home?\" \"{at},\" said the {a}."),
               w.pick("So {h.n} did. Soon {h.he} met a {b}. \"{bt},\" said the {b}.", "{h.n} said thank you and went on. Then a {b} came by. \"{bt},\" it said."))
    p4 = w.say(w.pick("{h.n} walked and walked. It was getting dark, and the first star came out.", "{h.n} went on and on. {h.His} feet were tired."),
               w.pick("But then {h.he} saw a light. It was {h.his} own home!", "Then {h.he} smelled something good. It was dinner, and it came from {h.his} own house!",
                      "And there was {e.n} with a lantern. \"There you are!\" said {e.n}. \"We were looking for you.\"",
                      "Then {h.he} heard someone call. \"{h.n}! {h.n}!\" It was {f.n} the {f.k}!"))
    p5 = ending(w, w.pick("\"Home is the best place in the world,\" said {h.n}.", "{h.n} was so happy to be home.", "{h.n} learned to look where {h.he} goes.",
                          "There was warm milk and a soft bed."))
    return [p1, p2, p3, p4, p5]


SKY = [
    ("moon", "she", "I am so alone up here", "sang a song for her every night", "The moon shone brighter than ever"),
    ("little star", "he", "I have fallen from the sky, and I cannot get home", "climbed the highest hill and threw the star up with all {h.his} strength",
     "And there it was, shining in the sky again"),
    ("cloud", "she", "I am so full of rain, and nobody wants me", "showed her a dry garden where the flowers were thirsty", "Soft rain fell, and all the flowers lifted their heads"),
    ("wind", "he", "Everybody closes the window when I come", "took a kite and asked the wind to play", "The kite flew higher and higher, and the wind laughed"),
    ("sun", "she", "I have a cold, and I cannot shine today", "made a big pot of hot tea and sent it up with the birds", "The sun drank it all, and soon the day was warm and bright"),
    ("snowman", "he", "Soon it will be spring, and I will melt", "asked him to come to the cold mountain, where it is always winter", "The snowman was happy there and waved with his broom"),
]


def plot_sky(w):
    """The moon, a star, the wind: a talk with the sky."""
    c, g, sad, deed, result = w.pick(*[x for x in SKY if w.winter or x[0] != "snowman"])
    w.set(c=c, c_he=g, C_he=g.capitalize(), sadly=sad, deed=deed, result=result)
    w.topic = ["the " + c, "the sky" if c != "snowman" else "winter", "a wish"]
    p1 = opening(w)
    p2 = w.say(w.pick("One night, {h.n} looked out of the window.", "One evening, {h.n} sat {spot}.", "Late one evening, {h.n} was not tired at all.")
               if c in ("moon", "little star") else ("One cold {day}" if c == "sun" else when(w)) + w.pick(", {h.n} went outside.", ", {h.n} sat {spot}."),
               w.pick("There was the {c}, and {c_he} was crying.", "{h.He} heard a sad voice. It was the {c}!", "The {c} [looked|seemed] very sad." if c != "wind" else "The wind sounded very sad."),
               w.pick("\"What is wrong?\" asked {h.n}.", "\"Why are you sad?\" asked {h.n}.", "\"Can I help you?\" asked {h.n}."))
    p3 = w.say("\"{sadly},\" said the {c}.",
               w.pick("{h.n} thought for a while.", "\"Oh, poor {c},\" said {h.n}.", "\"I will be your friend,\" said {h.n}.", "\"Wait,\" said {h.n}. \"I have an idea.\""),
               w.pick("Then {h.he} {deed}.", "So {h.n} {deed}."))
    p4 = w.say("{result}.", w.pick("\"Thank you, {h.n},\" said the {c}. \"[You are a good friend|I will never forget you|Now I am happy].\"",
                                   "\"Nobody was ever so kind to me,\" said the {c}.", "\"You have made me so happy,\" said the {c}."))
    p5 = ending(w, w.pick("And if you look up, perhaps you will see the {c} smile." if c not in ("wind", "snowman") else "And sometimes, {h.n} still thinks of the {c}.",
                          "And so the {c} and {h.n} became friends.", "{h.n} told {f.n} the {f.k} about it, but {f.n} only laughed."))
    return [p1, p2, p3, p4, p5]


def plot_cook(w):
    """Everybody brings something; together it is a feast."""
    dish, parts = w.pick(("soup", ["carrots", "potatoes", "onions", "mushrooms", "beans", "herbs", "a big pumpkin", "salt"]),
                         ("cake", ["flour", "eggs", "honey", "milk", "butter", "berries", "nuts", "apples"]),
                         ("pie", ["flour", "apples", "butter", "honey", "plums", "cream", "nuts", "berries"]))
    a, b, c = w.rng.sample(parts, 3)
    w.set(dish=dish, a=a, b=b, c=c)
    w.topic = ["a " + dish, "cooking", "a feast"]
    p1 = w.say(opening(w), w.pick("{h.n} loved to cook.", "", "It was a cold winter, and there was not much to eat." if w.winter else ""))
    p2 = w.say(when(w) + ", {h.n} wanted to make @ {dish}. But {h.he} had only {a}.",
               w.pick("\"That is not enough,\" {h.he} said.", "\"What can I do?\" asked {h.n}.", "\"A {dish} of {a} is no good,\" {h.he} said."))
    p3 = w.say(w.pick("Then {f.n} the {f.k} knocked on the door. \"I have {b},\" said {f.n}. \"We can cook together.\"",
                      "{h.n} went to {f.n} the {f.k}. \"Do you have something for my {dish}?\" {h.he} asked. \"I have {b},\" said {f.n}. \"May I help?\""),
               w.pick("{e.N} heard them and brought {c}.", "Then {e.n} came with {c}. \"May I join you?\" asked {e.n}."))
    p4 = w.say(w.pick("They [cut and mixed and stirred|stirred and sang|worked together all afternoon].", "{h.n} stirred, {f.n} mixed, and {e.n} told a story."),
               w.pick("Soon the whole house smelled wonderful.", "Mmm! It smelled so good that all the neighbours came."),
               w.pick("\"This is the best {dish} in the world,\" said {f.n}.", "There was enough {dish} for everybody.", "They ate until nothing was left."))
    moral = w.pick("{h.n} learned that [a little from everybody makes a feast|food tastes better with friends].", "", "")
    return [p1, p2, p3, p4, ending2(w, moral)]


def plot_sleep(w):
    """The hero cannot sleep and tries this and that."""
    w.topic = ["going to sleep", "a bedtime story", "the night"]
    tries = w.rng.sample(["{h.He} counted sheep, but the sheep were too funny.", "{h.He} drank a cup of warm milk, but that did not help.",
                          "{h.He} turned to the left. {h.He} turned to the right.", "{h.He} sang a song, but it made {h.him} even more awake.",
                          "{h.He} closed {h.his} eyes very tight, but they opened again.", "{h.He} put {h.his} head under the pillow, but it was too hot."], 2)
    p1 = opening(w)
    p2 = w.say(w.pick("One night, {h.n} could not sleep.", "It was late, and everybody was asleep. Only {h.n} was awake.", "The moon was high, but {h.n} was not tired."), *tries)
    p3 = w.say(w.pick("At last, {h.he} got up and went to {e.n}. \"I cannot sleep,\" said {h.n}.", "{e.N} saw the light. \"Are you still awake?\" {e.he} asked."),
               w.pick("\"Then let us look at the stars,\" said {e.n}.", "\"Come, I will tell you a story,\" said {e.n}.", "\"Think of the best thing that happened today,\" said {e.n}."),
               w.pick("They sat together for a while. It was quiet and peaceful.", "{h.n} listened to the soft voice. {h.His} eyes grew heavy.",
                      "{h.n} thought of the sun, of {food}, and of {h.his} friend {f.n}."))
    p4 = w.say(w.pick("\"One star, two stars, three stars,\" said {h.n}. Then {h.he} yawned.", "{h.n} yawned once. {h.n} yawned twice.",
                      "\"Good night, moon,\" whispered {h.n}. \"Good night, stars.\""),
               w.pick("And before {h.he} could say another word, {h.he} was asleep.", "Soon {h.his} eyes were closed.", "And then {h.n} slept until the morning."))
    p5 = w.pick(w.say("\"Sleep well, little {h.k},\" said {e.n}."), w.say("And the moon kept watch over {place}."), "", w.say("Sleep well, {h.n}."))
    return [p for p in [p1, p2, p3, p4, p5] if p]


def plot_new(w):
    """Somebody new and shy is made welcome."""
    w.topic = ["a new friend", "making friends", "@ " + w.f.k + " who was new"]
    w.set(odd=w.pick("had never seen so many new faces", "spoke very quietly", "was different from the others", "did not know any games", "came from far away"))
    p1 = opening(w)
    p2 = w.say(when(w) + ", somebody new came to {place}. It was @ {f.k} named {f.n}." if w.setting != "snow" else when(w) + ", somebody new came to live there. It was @ {f.k} named {f.n}.",
               "{f.n} {odd}.",
               w.pick("Nobody played with {f.him}.", "{f.He} sat {spot}, all alone.", "The others only looked and whispered."))
    p3 = w.say(w.pick("{h.n} saw it and felt sorry. \"It is not nice to be alone,\" {h.he} thought.", "\"Somebody should say hello,\" thought {h.n}.",
                      "{h.n} was a little shy, too. But {h.he} took a deep breath."),
               w.pick("{h.He} went to {f.n} and said, \"Hello, my name is {h.n}. Do you want to play?\"", "{h.He} took some {food} and sat down next to {f.n}. \"Would you like some?\" asked {h.n}.",
                      "\"Hello,\" said {h.n}. \"I have @ {item}. Would you like to see it?\""))
    p4 = w.say(w.pick("{f.n} looked up and smiled for the first time.", "\"[With me|Really]?\" asked {f.n}. \"Yes, with you,\" said {h.n}.", "{f.n} nodded, and {f.his} eyes shone."),
               w.pick("They played hide and seek {inside}. {f.n} was very good at it!", "{f.n} knew the best stories {h.n} had ever heard.",
                      "Then {f.n} showed {h.n} a trick. {h.n} laughed and laughed.", "They talked and talked, and soon the others came, too."))
    moral = w.pick("\"I am glad that you came,\" said {h.n}.", "{h.n} learned that [a friend may be waiting anywhere|it is easy to make a friend].", "\"I am not alone any more,\" said {f.n}.")
    return [p1, p2, p3, p4, ending2(w, moral)]


def plot_wish(w):
    """A wish comes true, and is not what it seemed."""
    wish, joy, woe = w.pick(("to be as big as a tree", "looked over all the hills", "did not fit into {h.his} bed any more"),
                            ("to be as small as an ant", "walked under the flowers as if they were trees", "could not even open {h.his} own door"),
                            ("to be able to fly", "flew over the roofs and the trees", "could not find the way back through the clouds"),
                            ("to eat only cake", "ate cake in the morning and cake at night", "had a terrible tummy ache"),
                            ("to be king of {place}", "sat on a big chair and wore a crown", "had no time to play any more"),
                            ("to have a mountain of gold", "had gold on the floor and gold on the bed", "could not eat it or play with it"),
                            ("to have summer all year", "swam and played in the sun every day", "missed the snow and the falling leaves"))
    if w.h.gender == "she":
        wish = wish.replace("king", "queen")
    if w.setting == "snow":
        wish = wish.replace("{place}", "the snow")
    w.set(wish=wish, joy=joy, woe=woe, giver=w.pick("a tiny fairy", "an old fish", "a shining star", "a little wizard", "a golden bird"))
    w.set(givern=w.giver.split(" ", 1)[1].split()[-1])
    w.topic = ["a wish", "a magic " + w.givern, "being happy"]
    p1 = opening(w)
    p2 = w.say(when(w) + ", {h.n} [met|saw|found] {giver} {spot}.",
               w.pick("\"You have one wish,\" said the {givern}.", "\"Make a wish,\" said the {givern}, \"and it will come true.\""),
               w.pick("\"I wish {wish},\" said {h.n}.", "{h.n} did not think for long. \"I wish {wish}!\""),
               w.pick("[Puff|Whoosh|Pling]! The wish came true.", "And so it was."))
    p3 = w.say(w.pick("At first, {h.n} was " + GLAD + ". {h.He} {joy}.", "How wonderful it was! {h.n} {joy}."),
               w.pick("But soon {h.he} {woe}.", "But then {h.n} {woe}."),
               w.pick("\"This is not what I wanted,\" said {h.n}.", "\"I miss my old life,\" {h.he} said.",
                      "{h.n} was " + SAD + ", and {h.he} missed {h.his} friend {f.n}."))
    p4 = w.say(w.pick("{h.He} went back to the {givern}. \"Please make everything as it was before,\" {h.he} said.",
                      "\"Please, {givern},\" {h.he} called, \"take the wish back!\""),
               w.pick("The {givern} smiled. \"Now you are wise,\" it said.", "\"Are you sure?\" asked the {givern}. \"Yes,\" said {h.n}."),
               w.pick("And {h.n} was {h.himself} again.", "[Puff|Whoosh|Pling]! All was as before."))
    return [p1, p2, p3, p4, ending(w, w.pick("\"I am happy just as I am,\" said {h.n}.", "{h.n} learned to be happy with what {h.he} had.", "\"Home is the best wish,\" {h.he} thought."))]


def plot_boat(w):
    """Two friends build something that moves and go on a trip."""
    craft, move, water = w.pick(("boat", "sailed", True), ("raft", "floated", True), ("balloon", "flew", False), ("sled", "rode", False), ("wagon", "rolled", False))
    if craft == "sled" and not w.winter:
        craft, move = "wagon", "rolled"
    w.set(craft=craft, move=move, far=w.pick("a small island" if water else "a high hill", "the end of the rainbow", "a quiet bay" if water else "a wide valley",
                                             "the other side of the hills", "a place with no name"))
    w.topic = ["@ " + craft, "an adventure", "a trip", "two friends"]
    p1 = w.say(opening(w), friend(w))
    p2 = w.say(when(w) + w.pick(", {h.n} said, \"Let us build @ {craft}!\"", ", {h.n} had a big idea. \"We could build @ {craft},\" {h.he} said to {f.n}."),
               w.pick("\"[What a good idea|Yes, let us begin]!\" said {f.n}.", "\"Do you know how?\" asked {f.n}. \"[No|Not yet], but we will find out,\" said {h.n}."),
               w.pick("They took [wood and rope|old boxes and string|sticks and cloth] and worked [all day|until evening|for three days].",
                      "{e.N} gave them [wood and nails|a rope|an old sheet], and they worked all day."))
    p3 = w.say(w.pick("At last, the {craft} was ready.", "Then the {craft} was done. It was not pretty, but it was strong."),
               w.pick("\"All aboard!\" called {h.n}.", "{h.n} packed {food}, and {f.n} packed {ffood}.", "They gave it a name and waved to {e.n}."),
               "They {move} [on and on|for a long time|faster and faster], until they came to {far}.")
    p4 = w.say(w.pick("There they found [a tree full of sweet fruit|a hundred white birds|flowers that nobody had ever seen|a cave that sang in the wind].",
                      "There lived @ [old|tiny|funny] [giant|king|painter|sailor] who was very glad to have visitors."),
               w.pick("\"[I want to stay here for ever|This is the best place in the world]!\" said {f.n}.", "They sat down and ate {food}.",
                      "\"Nobody will believe us,\" said {h.n}."),
               w.pick("When the sun went down, they {move} home again.", "Then the wind turned and took them home.", "But in the evening, they missed their beds, and they {move} home."))
    moral = w.pick("\"Where shall we go tomorrow?\" asked {f.n}.", "{h.n} learned that [two friends can build anything|the best trips are made together].", "", "{e.N} listened to their story until late at night.")
    return [p1, p2, p3, p4, ending2(w, moral)]


def plot_band(w):
    """Everybody plays something else; it must be made to fit."""
    a, b = w.rng.sample(["drum", "flute", "fiddle", "horn", "bell", "guitar", "whistle", "harp"], 2)
    w.set(a=a, b=b)
    w.topic = ["music", "a concert", "a song", "@ " + a]
    p1 = w.say(opening(w), w.pick("{h.n} loved music and played the {a}.", "{h.n} had @ {a} and played it all day.", "All day long, {h.n} played the {a}."))
    p2 = w.say(when(w) + w.pick(", {f.n} the {f.k} came with @ {b}.", ", {h.n} heard @ {b}. It was {f.n} the {f.k} who played it."),
               w.pick("\"Let us play together!\" said {f.n}.", "\"We could make a band,\" said {h.n}."),
               w.pick("But oh, what a noise! {h.n} played too fast, and {f.n} played too slowly.", "But it sounded terrible! The birds flew away.",
                      "They played as loud as they could. {e.N} held {e.his} ears."))
    p3 = w.say(w.pick("\"It is your fault,\" said {f.n}. \"No, it is yours,\" said {h.n}.", "\"We are no good,\" said {h.n}.", "\"Stop, stop!\" called {e.n}."),
               w.pick("\"You must listen to each other,\" said {e.n}. \"Music is like talking.\"", "\"Play softly,\" said {e.n}, \"so that you can hear your friend.\"",
                      "\"First one, and then the other,\" said {e.n}."))
    p4 = w.say(w.pick("So {h.n} played softly and listened. The {a} asked, and the {b} answered.", "They tried again, slowly and softly. And this time, it was beautiful!"),
               w.pick("Soon all of {place} was dancing.", "Everybody came to listen.", "Even the wind was quiet.") if w.setting != "snow" else "Everybody came to listen.",
               w.pick("\"More! More!\" they cried.", "{e.N} had tears in {e.his} eyes.", "\"Bravo!\" said {e.n}."))
    moral = w.pick("{h.n} learned that [listening is the best part of music|it is good to listen].", "", "They called it the song of {place}." if w.setting != "snow" else "They called it the snow song.")
    return [p1, p2, p3, p4, ending2(w, moral)]


def plot_hide(w):
    """Hide and seek, and one hides too well."""
    w.topic = ["hide and seek", "a game", "two friends"]
    p1 = w.say(opening(w), friend(w))
    p2 = w.say(when(w) + ", they played hide and seek {inside}. {f.n} closed {f.his} eyes and counted. \"One, two, three, four, five!\"",
               w.pick("{h.n} hid {spot}. It was a very good place.", "{h.n} ran {way} and hid {spot}."),
               w.pick("{h.He} tried not to laugh.", "{h.He} was as quiet as a stone.", "\"Here {f.he} will never find me,\" {h.he} thought."))
    p3 = w.say(w.pick("{f.n} looked {spot2}. No {h.n}! {f.He} looked {spot3}. No {h.n}!", "\"Where are you?\" called {f.n}. {f.He} looked {spot2} and {spot3}."),
               w.pick("{f.n} asked {e.n}, but {e.n} only smiled.", "{f.n} looked and looked until the sun was low.", "\"{h.n}! {h.n}!\" called {f.n}, but nobody answered."))
    p4 = w.say(w.pick("Then {f.n} heard a sound. Snore, snore! There, {spot}, was {h.n}, fast asleep!",
                      "Then {f.n} heard a loud \"[Achoo|Hatchoo]!\" {h.n} had sneezed! \"Found you!\" cried {f.n}.",
                      "Then {f.n} had an idea. \"I have {food} here!\" {f.he} called. At once, {h.n} came out. \"Where?\" asked {h.n}. \"Found you!\" said {f.n}.",
                      "Something moved. It was only a foot, but {f.n} saw it. \"Found you!\" {f.he} cried."),
               w.pick("They laughed until their tummies hurt.", "\"You are the best at hiding,\" said {f.n}. \"And you are the best at looking,\" said {h.n}.",
                      "\"Now it is my turn to count,\" said {h.n}."))
    return [p1, p2, p3, p4, ending2(w)]


def plot_sick(w):
    """The friend is ill; the hero cheers the friend up."""
    w.topic = ["a sick friend", "being a good friend", "@ " + w.f.k]
    w.set(gift=w.pick("a jar of honey", "a bunch of flowers", "a book with pictures", "a pot of hot soup", "a funny hat"))
    w.set(giftn={"a jar of honey": "honey", "a bunch of flowers": "flowers", "a book with pictures": "book", "a pot of hot soup": "soup", "a funny hat": "hat"}[w.gift])
    p1 = w.say(opening(w), friend(w))
    p2 = w.say(when(w) + w.pick(", {h.n} waited for {f.n}, but {f.n} did not come.", ", {h.n} went to see {f.n}. But {f.n} was still in bed."),
               w.pick("\"{f.n} is sick,\" said {e.n}. \"{f.He} has a bad cold.\"", "\"Achoo!\" said {f.n}. \"I am sick. I cannot play today.\""),
               w.pick("{h.n} was " + SAD + ".", "\"Poor {f.n},\" said {h.n}.", "\"What can I do?\" thought {h.n}."))
    p3 = w.say(w.pick("Then {h.he} had an idea. {h.He} ran home and came back with {gift}.", "{h.n} went {way} and {way2} and came back with {gift}."),
               w.pick("\"This is for you,\" said {h.n}.", "\"I hope it helps,\" {h.he} said.", "\"Surprise!\" said {h.n}."),
               w.pick("{h.n} sat by the bed and told {f.n} a story about [a brave king|a dancing bear|a flying fish|a cat who could sing].", "Then {h.n} made funny faces, and {f.n} laughed.",
                      "They played a quiet game and looked out of the window."))
    p4 = w.say(w.pick("The next morning, {f.n} felt much better.", "After three days, {f.n} was well again.", "That night, {f.n} slept well, and in the morning the cold was gone."),
               w.pick("\"It was the {giftn},\" said {f.n}. \"And it was you.\"", "\"A friend is better than any medicine,\" said {e.n}.", "\"Come out and play!\" called {f.n}.",
                      "But now {h.n} had a cold! \"Achoo!\" So {f.n} came with {gift}."))
    return [p1, p2, p3, p4, ending2(w, w.pick("", "{h.n} was " + GLAD + "."))]


def plot_giant(w):
    """Everybody fears somebody big, who is only lonely."""
    big = w.pick("giant", "dragon", "troll", "monster", "bear")
    if big == w.h.k:
        big = "giant"
    w.set(big=big, bad=w.pick("very loud", "very angry", "as big as a house", "as wild as a storm"), want=w.pick("somebody to talk to", "a friend", "somebody to play with"),
          where=w.pick("in a dark cave", "on top of the mountain", "behind the high wall", "on the other side of the bridge"))
    w.topic = ["@ " + big, "being brave", "a lonely " + big]
    p1 = w.say(opening(w), w.pick("Everybody said that @ {big} lived {where}.", "Not far away, {where}, lived @ {big}."))
    lost = w.rng.random() < 0.4
    p2 = w.say(w.pick("\"Never go there,\" said {e.n}. \"The {big} is {bad}.\"", "\"The {big} is {bad},\" said {f.n} the {f.k}. Nobody ever went there."),
               when(w) + (", {h.n}'s {item} was gone. \"The wind took it to the {big},\" said {e.n}." if lost else
                          w.pick(", {h.n} heard a strange sound. Somebody was crying {where}.",
                                 ", {h.n} lost the path and came to the place where the {big} lived.")))
    p3 = w.say(w.pick("{h.n} was afraid, but {h.he} went {way} and did not stop.", "{h.His} knees were shaking. But {h.n} took one step, and then one more."),
               "There sat the {big}, and it was " + w.pick("crying.", "very big. But its eyes were sad.", "looking at the ground."),
               w.pick("\"Are you going to run away, too?\" asked the {big}.", "\"Please don't run away,\" said the {big}.", "\"Why do you cry?\" asked {h.n}."),
               w.pick("\"I only want {want}.\"", "\"Everybody is afraid of me, and I only want {want}.\""))
    p4 = w.say(w.pick("\"I am not afraid any more,\" said {h.n}.", "\"Then come and play with me,\" said {h.n}." if not lost else "\"Is this your {thing}?\" asked the {big}. \"Yes,\" said {h.n}. \"Do you want to play with it?\"", "{h.n} gave the {big} some {food}. \"Thank you,\" said the {big}. \"Nobody ever gave me anything.\""),
               w.pick("The {big} laughed, and the ground shook.", "The {big} smiled, and it was the kindest smile of all.", "The {big} lifted {h.n} up, and {h.he} could see the whole world."),
               w.pick("Soon everybody came to see the {big}, and nobody was afraid.", "From then on, {h.n} came to visit every week.", "\"You see,\" said {h.n} to the others, \"it was only lonely.\""))
    return [p1, p2, p3, p4, ending(w, w.pick("{h.n} learned that [somebody big can be very gentle|you must not believe everything you hear|even a {big} needs a friend].", ""))]


PLOTS = [plot_lost, plot_help, plot_learn, plot_rain, plot_share, plot_fear, plot_gift, plot_find, plot_grow,
         plot_truth, plot_race, plot_wander, plot_sky, plot_cook, plot_sleep, plot_new, plot_wish,
         plot_boat, plot_band, plot_hide, plot_sick, plot_giant]


NOT_IN = {"snow": (plot_grow, plot_rain)}


def request(w, text):
    """What a user might have asked for to get this story."""
    if w.f.n in text:
        w.topic = w.topic + ["@ {f.k}", "@ {h.k} and @ {f.k}", "@ {h.k} and @ {f.k}", "{h.n} and {f.n}"]
    about = w.pick("@ {h.k}", "@ {h.k}", "@ {h.k}", "@ {h.ak}", "{h.n}", "@ {h.k} [named|called] {h.n}", "{h.n} the {h.k}",
                   w.pick(*w.topic), w.pick(*w.topic), w.pick(*w.topic), "@ {h.k} and " + w.pick(*w.topic[:3]))
    tell = w.pick("Tell me a story", "Tell me a story", "Tell me a [little|short|nice|bedtime|funny|new] story", "Write a story",
                  "Write me a story", "Please tell me a story", "I want a story", "I would like a story", "Hello! Tell me a story")
    return w.say(w.pick(tell + " about " + about + "[.|.|.||, please.|!]", tell + " about " + about + ".", tell.lower().replace("i w", "I w") + " about " + about,
                        "[A|Another] story about " + about + "[, please.|.|]", "[Can|Could] you tell me a story about " + about + "?",
                        "Tell me about " + about + "[.|]", about, tell + "[.|]", tell + "[.|!]"))


def story(rng):
    """One story: (request, text)."""
    w = World(rng)
    w.set(meal=w.rng.choice(["lunch", "picnic"]))
    plots = [p for p in PLOTS if p not in NOT_IN.get(w.setting, ())]
    paragraphs = [p for p in rng.choice(plots)(w) if p]
    text = "\n\n".join(paragraphs)
    return request(w, text), text


def records(seed, count, chat):
    """Pairs of (request, story); chat is the share of stories with a request in front."""
    rng = random.Random(seed)
    for _ in range(count):
        ask, text = story(rng)
        x = rng.random()
        if x < chat * 0.85:
            yield "User: " + ask + "\nStory:", " " + text
        elif x < chat:
            yield ask + "\n\n", text
        else:
            yield "", text


def main():
    ap = argparse.ArgumentParser(description="write simple English stories for the demo model")
    ap.add_argument("-s", "--seed", type=int, default=1)
    ap.add_argument("-n", "--count", type=int, default=10)
    ap.add_argument("--chat", type=float, default=0.3, help="share of stories with a request in front")
    args = ap.parse_args()
    out = sys.stdout.buffer
    for ask, text in records(args.seed, args.count, args.chat):
        out.write((ask + text).encode() + b"\x1e\n")


if __name__ == "__main__":
    main()
