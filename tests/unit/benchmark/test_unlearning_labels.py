"""Labels beside points: they keep clear of each other where there is room."""

from itertools import combinations

import pytest
from matplotlib.figure import Figure

from nulls_dist.benchmark.unlearning.page.labels import Label, draw_labels


@pytest.mark.parametrize("distance", [0.0, 0.01, 0.3])
def test_labels_of_close_points_do_not_overlap(distance):
    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    labels = [
        Label(text=f"value {number}", x=0.5 + number * distance, y=0.5, colour="#111111")
        for number in range(4)
    ]
    for label in labels:
        axes.plot(label.x, label.y, "o")
    draw_labels(figure, axes, labels)
    figure.draw_without_rendering()
    written = [each for each in axes.texts if each.get_text()]
    assert [each.get_text() for each in written] == [label.text for label in labels]
    boxes = [each.get_window_extent() for each in written]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
