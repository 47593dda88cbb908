"""What pyproject.toml cannot say: an editable installation, too, puts the extension where JupyterLab looks.

setuptools asks a distribution whether it `has_data`, and means what is called `has_data_files`.
"""

from setuptools import Distribution, setup


class WithData(Distribution):
    has_data = Distribution.has_data_files


setup(distclass=WithData)
