"""Empty lines and blanks within strings are code: a text that a module holds, unlike its layout."""

import ast

from cmr import code

SOURCE = '''"""Docstring.

More.
"""

TEXT = """one

two  \t
# no comment
{} three"""  # a comment

NAMED = f"""é {1}

{TEXT}  
"""


def f():
    """Docstring

    of f."""

    return TEXT
'''
BARE = '''TEXT = """one

two  \t
# no comment
{} three"""
NAMED = f"""é {1}

{TEXT}  
"""
def f():
    return TEXT'''


def bare(source):
    return code.bare(source, ast.walk(ast.parse(source)))


def test_strings_of_several_lines_stand_as_they_are():
    assert bare(SOURCE) == BARE
    assert bare(BARE) == BARE
    assert bare(SOURCE.replace("one\n\ntwo", "one\ntwo")) != BARE
    assert bare(SOURCE.replace("{TEXT}  \n", "{TEXT}\n")) != BARE
    assert bare(SOURCE.replace("of f.", "\n\nof f.").replace("Docstring.\n\nMore", "More")) == BARE
