"""Profiles of whole tables: a column's profile by its name, in memory and as JSON."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ferryman.profiles.category_profile import (
    CategoryProfile,
    merge_categories,
    read_category,
)
from ferryman.profiles.number_profile import NumberProfile, merge_numbers, read_number

ColumnProfile = NumberProfile | CategoryProfile
Profile = dict[str, ColumnProfile]
_NO_NAMES: Mapping[str, Collection[str]] = {}


def read_profile(stored: Mapping[str, Any]) -> Profile:
    """The profiles of columns from their JSON form."""
    return {name: read_column(column) for name, column in stored.items()}


def read_column(stored: Mapping[str, Any]) -> ColumnProfile:
    """One column's profile from its JSON form."""
    return read_category(stored) if stored["type"] == "category" else read_number(stored)


def profile_json(profile: Mapping[str, ColumnProfile]) -> dict[str, Any]:
    """The JSON form, in which a profile is stored."""
    return {name: column.as_json() for name, column in profile.items()}


def merge_profiles(
    profiles: Sequence[Mapping[str, ColumnProfile]],
    named: Mapping[str, Collection[str]] = _NO_NAMES,
) -> Profile:
    """The profile of the rows of all tables together, as if they had been one.

    Counts, nulls, smallest and largest values are exact, moments exact to rounding, shares of rows
    within the sum of 1/resolution of the parts (see quantile_sketch). Columns that some tables
    lack, or have in another type, are merged over those that have them as the last table has.
    `named`: categories by column that stay counted by name, where the parts did so.
    """
    kinds = {name: type(column) for profile in profiles for name, column in profile.items()}
    merged: Profile = {}
    for name, kind in kinds.items():
        parts = [profile[name] for profile in profiles if name in profile]
        numbers = [part for part in parts if isinstance(part, NumberProfile)]
        categories = [part for part in parts if isinstance(part, CategoryProfile)]
        merged[name] = (
            merge_numbers(numbers)
            if kind is NumberProfile
            else merge_categories(categories, named.get(name, ()))
        )
    return merged
