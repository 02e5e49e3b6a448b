"""What the page of an evaluation says, in English and Spanish."""

from typing import Any

WORDS: dict[str, dict[str, Any]] = {
    "en": {
        "title": "Draft impressions, measured",
        "warn": "ROUGE counts shared words. It pays for templates: a sentence that says that all "
        "is normal scores high where most reports are normal, and a swapped side costs next to "
        "nothing. Look at unseen and abnormal reports, false normals and unsupported findings.",
        "overview": "At a glance",
        "reports": "reports",
        "copied": "reports that the neighbours are taken from",
        "all": "All reports",
        "normal": "Normal reports",
        "abnormal": "Abnormal reports",
        "unseen-and-abnormal": "Unseen and abnormal: the impression occurs nowhere in training",
        "system": "system",
        "words": "Words: ROUGE F1, mean [95 %]",
        "boxes": "Box: quartiles; whiskers: least and greatest; diamond: mean. Grey: baselines.",
        "spread": "Count, standard deviation, minimum, quartiles, maximum",
        "measure": "measure", "mean": "mean", "n": "n", "std": "SD", "min": "min",
        "q1": "Q1", "median": "median", "q3": "Q3", "max": "max",
        "findings": "Findings, by judge {judge}",
        "own": "our own labeller: the guard uses it, so these figures flatter",
        "other": "independent",
        "labelled": "labels of the whole report; drafts are read by our labeller",
        "f1": "F1 (micro) [95 %]",
        "false_normal": "false normals [95 %]",
        "omitted": "omitted", "invented": "not in the reference",
        "unsupported": "not in the findings section", "unfounded": "in neither",
        "critical": "certain critical findings left out (n)",
        "ceiling": "{nowhere} of the findings in these references stand nowhere in the findings "
        "section: a draft that says all the others and nothing else has F1 {f1}. Who scores more "
        "is guessing.",
        "against": "Paired differences: ROUGE-1, -2, -L and F1 ({judge}), mean [95 %]",
        "gain": "ROUGE-1, against {other}",
        "other_system": "against",
        "cut": "Length limits",
        "cut_head": ("system", "findings cut", "tokens lost", "drafts that ended at the limit"),
        "lacking": "{system} has no draft for {n} reports; they score 0.",
        "bad": "rows that could not be used",
        "floors": "Floors",
        "floor_head": ("system", "group", "figure", "judge", "measured", "floor", ""),
        "met": "met", "missed": "missed", "unmeasured": "not measured",
        "foot": "Intervals: percentile bootstrap over near-duplicate groups, {rounds} rounds. "
        "Masks and list numbers were taken out of both texts. The page holds no report text.",
    },
    "es": {
        "title": "Borradores de impresión, medidos",
        "warn": "ROUGE cuenta palabras compartidas. Premia las plantillas: una frase que lo da "
        "todo por normal puntúa alto donde la mayoría de los informes son normales, y un lado "
        "cambiado apenas cuesta. Mire los informes anormales no vistos, los falsos normales y los "
        "hallazgos sin respaldo.",
        "overview": "De un vistazo",
        "reports": "informes",
        "copied": "informes de los que se toman los vecinos",
        "all": "Todos los informes",
        "normal": "Informes normales",
        "abnormal": "Informes anormales",
        "unseen-and-abnormal": "Anormales no vistos: la impresión no aparece en el entrenamiento",
        "system": "sistema",
        "words": "Palabras: F1 de ROUGE, media [95 %]",
        "boxes": "Caja: cuartiles; bigotes: mínimo y máximo; rombo: media. Gris: referencias.",
        "spread": "Número, desviación típica, mínimo, cuartiles, máximo",
        "measure": "medida", "mean": "media", "n": "n", "std": "DT", "min": "mín.",
        "q1": "Q1", "median": "mediana", "q3": "Q3", "max": "máx.",
        "findings": "Hallazgos, según el juez {judge}",
        "own": "nuestro propio lector: la guarda lo usa, así que estas cifras favorecen",
        "other": "independiente",
        "labelled": "etiquetas del informe completo; los borradores los lee nuestro lector",
        "f1": "F1 (micro) [95 %]",
        "false_normal": "falsos normales [95 %]",
        "omitted": "omitidos", "invented": "no están en la referencia",
        "unsupported": "no están en los hallazgos", "unfounded": "en ninguno",
        "critical": "hallazgos críticos seguros omitidos (n)",
        "ceiling": "El {nowhere} de los hallazgos de estas referencias no aparece en la sección de "
        "hallazgos: un borrador que diga todos los demás y nada más tiene F1 {f1}. Quien puntúa "
        "más está adivinando.",
        "against": "Diferencias pareadas: ROUGE-1, -2, -L y F1 ({judge}), media [95 %]",
        "gain": "ROUGE-1, frente a {other}",
        "other_system": "frente a",
        "cut": "Límites de longitud",
        "cut_head": ("sistema", "hallazgos cortados", "tokens perdidos",
                     "borradores que acaban en el límite"),
        "lacking": "{system} no tiene borrador de {n} informes; puntúan 0.",
        "bad": "filas que no se pudieron usar",
        "floors": "Mínimos",
        "floor_head": ("sistema", "grupo", "cifra", "juez", "medido", "mínimo", ""),
        "met": "cumplido", "missed": "no cumplido", "unmeasured": "no medido",
        "foot": "Intervalos: bootstrap de percentiles por grupos de casi duplicados, {rounds} "
        "rondas. Máscaras y números de lista se quitaron de ambos textos. La página no contiene "
        "texto de informes.",
    },
}  # fmt: skip
