"""Tests that share what is dear to make are one worker's."""


def test_the_tests_of_a_file_are_one_workers(request, worker_id):
    """A version of pytest-xdist that pytest has outgrown says nothing and makes everything twice."""
    assert worker_id == "master" or request.node.nodeid.endswith("@test_tiers")
